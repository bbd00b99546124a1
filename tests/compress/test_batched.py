"""Networks of one sample run on many: what is computed, one after the other or together."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import random, save

torch = pytest.importorskip("torch")

from tvmcomp.compress.batched import BatchedNetwork  # noqa: E402
from tvmcomp.compress.network import TrainableNetwork  # noqa: E402
from tvmcomp.frontend.binding import Binding  # noqa: E402
from tvmcomp.frontend.onnx.prepare import prepare  # noqa: E402

node = helper.make_node


def model_of(path):
    return prepare(onnx.load(path), Binding({}, {}, {}), where=str(path)).model


def check(path, together, dtype="float32"):
    """Four samples at once are four samples, in what is computed and in what is learned."""
    model = model_of(path)
    plain = TrainableNetwork(model)
    rng = np.random.default_rng(0)
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.input
    }
    samples = [
        {name: rng.normal(0, 2, shape).astype(dtype) for name, shape in shapes.items()}
        for _ in range(4)
    ]
    batched = BatchedNetwork(model, samples)
    assert batched.together == together
    stacked = {n: torch.from_numpy(np.stack([s[n] for s in samples])) for n in shapes}
    got = batched.run(stacked, plain.outputs)
    for index, sample in enumerate(samples):
        want = plain(*(torch.from_numpy(sample[name]) for name in shapes))
        for name, value in zip(plain.outputs, want, strict=True):
            torch.testing.assert_close(got[name][index], value, rtol=1e-4, atol=1e-5)
    sum(value.square().sum() for value in got.values()).backward()
    for sample in samples:
        outputs = plain(*(torch.from_numpy(sample[name]) for name in shapes))
        sum(value.square().sum() for value in outputs).backward()
    for name, weight in plain.weights().items():
        mine = batched.network.weights()[name].grad
        if weight.grad is not None:
            torch.testing.assert_close(mine, weight.grad, rtol=1e-3, atol=1e-3)
    return batched


def test_a_batch_that_a_reshape_says(tmp_path):
    path = save(
        tmp_path / "m.onnx",
        [
            node("Conv", ["x", "w"], ["c"]),
            node("Reshape", ["c", "flat"], ["f"]),
            node("MatMul", ["f", "m"], ["y"]),
        ],
        {"x": (1, 2, 5, 5)},
        ["y"],
        weights={"w": random(3, 2, 3, 3), "flat": np.array([1, 27]), "m": random(27, 4)},
    )
    check(path, together=True)


def test_heads_of_attention_and_a_token_before_the_data(tmp_path):
    path = save(
        tmp_path / "m.onnx",
        [
            node("Concat", ["token", "x"], ["t"], axis=1),
            node("Reshape", ["t", "heads"], ["h"]),
            node("Transpose", ["h"], ["q"], perm=[0, 2, 1, 3]),
            node("Reshape", ["q", "merged"], ["m"]),
            node("Transpose", ["m"], ["k"], perm=[0, 2, 1]),
            node("MatMul", ["m", "k"], ["s"]),
            node("Softmax", ["s"], ["p"], axis=-1),
            node("MatMul", ["p", "m"], ["v"]),
            node("Reshape", ["v", "apart"], ["a"]),
            node("ReduceMean", ["a"], ["y"], axes=[1, 2], keepdims=0),
        ],
        {"x": (1, 5, 8)},
        ["y"],
        weights={
            "token": random(1, 1, 8),
            "heads": np.array([1, 6, 2, 4]),
            "merged": np.array([2, 6, 4]),
            "apart": np.array([1, 2, 6, 4]),
        },
    )
    check(path, together=True)


def test_a_recurrent_layer_has_its_samples_along_the_second_axis(tmp_path):
    path = save(
        tmp_path / "m.onnx",
        [
            node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
            node("GRU", ["t", "w", "r"], ["all", "last"], hidden_size=4, direction="bidirectional"),
            node("Transpose", ["all"], ["beside"], perm=[0, 2, 1, 3]),
            node("Reshape", ["beside", "wide"], ["y"]),
        ],
        {"x": (1, 6, 3)},
        ["y", "last"],
        weights={"w": random(2, 12, 3), "r": random(2, 12, 4), "wide": np.array([0, 0, -1])},
    )
    batched = check(path, together=True)
    assert "Reshape" in {node.op_type for node in batched.trained().graph.node}


def test_a_resize_that_says_all_sizes(tmp_path):
    path = save(
        tmp_path / "m.onnx",
        [
            node("Resize", ["x", "", "", "sizes"], ["r"], mode="linear"),
            node("Conv", ["r", "w"], ["y"]),
        ],
        {"x": (1, 2, 3, 3)},
        ["y"],
        weights={"sizes": np.array([1, 2, 6, 5]), "w": random(2, 2, 3, 3)},
    )
    check(path, together=True)


def test_samples_that_an_operator_would_mix_go_one_by_one(tmp_path):
    path = save(
        tmp_path / "m.onnx",
        [
            node("ReduceMax", ["x"], ["m"], keepdims=1),  # over all axes
            node("Div", ["x", "m"], ["d"]),
            node("MatMul", ["d", "w"], ["y"]),
        ],
        {"x": (1, 6)},
        ["y"],
        weights={"w": random(6, 2)},
    )
    check(path, together=False)


def test_what_numpy_computes_goes_one_by_one(tmp_path):
    path = save(
        tmp_path / "m.onnx",
        [
            node("ReduceMax", ["x"], ["m"], keepdims=1),
            node("Div", ["x", "m"], ["d"]),
            node("Det", ["d"], ["e"]),
            node("Mul", ["e", "w"], ["y"]),
        ],
        {"x": (1, 3, 3)},
        ["y"],
        weights={"w": random(1)},
    )
    check(path, together=False)


def test_comparisons_go_together_too(tmp_path):
    path = save(
        tmp_path / "m.onnx",
        [
            node("Greater", ["x", "zero"], ["g"]),
            node("Where", ["g", "x", "w"], ["y"]),
        ],
        {"x": (1, 6)},
        ["y"],
        weights={"zero": np.float32(0), "w": random(1, 6)},
        types={"x": TensorProto.FLOAT},
    )
    check(path, together=True)


def test_what_was_trained_goes_back_into_the_graph_as_it_was_given(tmp_path):
    path = save(
        tmp_path / "m.onnx",
        [node("Reshape", ["x", "flat"], ["f"]), node("MatMul", ["f", "m"], ["y"])],
        {"x": (1, 2, 3)},
        ["y"],
        weights={"flat": np.array([1, 6]), "m": random(6, 4)},
    )
    model = model_of(path)
    batched = BatchedNetwork(model, [{"x": random(1, 2, 3)}, {"x": random(1, 2, 3, seed=1)}])
    with torch.no_grad():
        batched.network.weights()["m"].mul_(2)
    trained = batched.trained()
    x = torch.from_numpy(random(1, 2, 3, seed=2))
    with torch.no_grad():
        (got,), (want,) = TrainableNetwork(trained)(x), TrainableNetwork(model)(x)
    torch.testing.assert_close(got, 2 * want)
    assert [n.op_type for n in trained.graph.node] == [n.op_type for n in model.graph.node]
