"""Random operators in factored form: at full rank the network gives what it gave."""

from __future__ import annotations

import math

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("torch")

from tests.compress.fake_quantize.rounded_networks import node, normal, prepared
from tvmcomp.compress.fake_quantize.graph import Graph
from tvmcomp.compress.fake_quantize.plan import plan_model
from tvmcomp.compress.low_rank.forms import Form, factor_sizes, factored, refusal
from tvmcomp.compress.low_rank.rewrite import replaced
from tvmcomp.compress.moments import Moments


def convolution(rng, **fixed):
    """A random convolution of 1 to 2 spatial axes, and the attributes it was made with."""
    dims = fixed.get("dims", int(rng.integers(1, 3)))
    draw = lambda low, high: [int(rng.integers(low, high)) for _ in range(dims)]  # noqa: E731
    kernel, strides, dilations = draw(1, 4), draw(1, 3), draw(1, 3)
    pads = draw(0, 3) + draw(0, 3)
    group = fixed.get("group", 1)
    channels, outputs = group * int(rng.integers(2, 5)), group * int(rng.integers(2, 7))
    sizes = [9 + int(rng.integers(0, 4)) for _ in range(dims)]
    weights = {"w": normal(outputs, channels // group, *kernel, seed=int(rng.integers(99)))}
    inputs = ["x", "w"]
    if rng.random() < 0.5:
        weights["b"] = normal(outputs, seed=1)
        inputs.append("b")
    given = {"strides": strides, "dilations": dilations, "pads": pads, "group": group}
    return prepared(
        [node("Conv", inputs, ["y"], "conv", kernel_shape=kernel, **given)],
        {"x": [1, channels, *sizes]},
        ["y"],
        weights,
    )


def product(rng):
    """A random Gemm or MatMul, with or without a bias."""
    inner, outer = (int(size) for size in rng.integers(3, 12, size=2))
    kind = rng.integers(4)
    weights, shape = {"w": normal(inner, outer)}, [4, inner]
    if kind == 0:
        nodes = [node("Gemm", ["x", "w"], ["y"], "product")]
    elif kind == 1:
        weights = {"w": normal(outer, inner), "b": normal(outer)}
        nodes = [node("Gemm", ["x", "w", "b"], ["y"], "product", transB=1)]
    elif kind == 2:
        shape = [2, 3, inner]
        nodes = [node("MatMul", ["x", "w"], ["y"], "product")]
    else:
        weights["b"] = normal(outer)
        nodes = [
            node("MatMul", ["x", "w"], ["m"], "product"),
            node("Add", ["b", "m"], ["y"], "add"),
        ]
    return prepared(nodes, {"x": shape}, ["y"], weights)


def recurrent(kind, directions):
    """A recurrent layer."""
    gates = {"LSTM": 4, "GRU": 3}[kind]
    weights = {
        "w": normal(directions, gates * 5, 7, scale=0.3),
        "r": normal(directions, gates * 5, 5, scale=0.3),
    }
    direction = "bidirectional" if directions == 2 else "forward"
    layer = node(kind, ["x", "w", "r"], ["y"], "layer", hidden_size=5, direction=direction)
    return prepared([layer], {"x": [6, 1, 7]}, ["y"], weights)


def run(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"x": x})[0]


def sample(model, seed=0):
    sizes = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    return normal(*sizes, seed=seed)


def rewritten(model, name, ranks):
    """``model`` with its one operator in a form, and that form's whole weight."""
    weight = plan_model(model).weights[0]
    value = Graph(model).constant(weight.tensor)
    (matrix,) = weight.matrices(value)
    moments = Moments.white(1, matrix.shape[1])
    made = factored(weight, matrix, moments, Form(name, ranks))
    assert [m.shape for m in made.matrices] == list(factor_sizes(weight, Form(name, ranks)))
    return weight, matrix, made, replaced(model, {weight.node: made})


@pytest.mark.parametrize("seed", range(20))
def test_a_convolution_of_full_rank_gives_what_it_gave(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = convolution(rng)
    weight = plan_model(model).weights[0]
    outputs, channels, *kernel = weight.shape
    columns = channels * math.prod(kernel)
    forms = {"narrow": (outputs,)}
    if math.prod(kernel) > 1:
        forms["tucker"] = (channels, outputs)
    if len(kernel) == 2:
        forms["spatial"] = (min(channels * kernel[0], outputs * kernel[1]),)
    x = sample(model, seed)
    expected = run(model, x)
    for name, ranks in forms.items():
        *_, made, small = rewritten(model, name, ranks)
        np.testing.assert_allclose(
            run(small, x), expected, atol=1e-5 * columns, err_msg=f"{name} of {weight.shape}"
        )
        assert made.lost < 1e-10


@pytest.mark.parametrize("seed", range(12))
def test_a_product_of_low_rank_is_numpys_truncated_decomposition(seed: int) -> None:
    model = product(np.random.default_rng(seed))
    weight = plan_model(model).weights[0]
    rank = 2
    _, matrix, made, small = rewritten(model, "narrow", (rank,))
    u, s, v = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    best = (u[:, :rank] * s[:rank]) @ v[:rank]
    np.testing.assert_allclose(made.matrices[1] @ made.matrices[0], best, atol=1e-5)
    x = sample(model, seed).astype(np.float64)
    bias = Graph(model).constant(next((t.name for t in model.graph.initializer if t.dims == [
        weight.scales] and t.name != weight.tensor), ""))  # fmt: skip
    expected = x @ best.T + (0 if bias is None else bias)
    np.testing.assert_allclose(run(small, x.astype(np.float32)), expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("directions", [1, 2])
def test_the_input_weights_of_a_recurrent_layer_are_factored(kind: str, directions: int) -> None:
    model = recurrent(kind, directions)
    *_, small = rewritten(model, "narrow", (7,))
    assert [each.op_type for each in small.graph.node] == ["MatMul", kind]
    x = sample(model)
    np.testing.assert_allclose(run(small, x), run(model, x), atol=1e-5)


def test_the_bias_takes_up_the_mean_of_what_is_lost() -> None:
    model = product(np.random.default_rng(1))
    weight = plan_model(model).weights[0]
    (matrix,) = weight.matrices(Graph(model).constant(weight.tensor))
    mean = np.full(matrix.shape[1], 5.0)
    made = factored(
        weight, matrix, Moments(mean[None], np.eye(matrix.shape[1])[None]), Form("narrow", (1,))
    )
    small = replaced(model, {weight.node: made})
    x = np.tile(mean.astype(np.float32), (4, 1)).reshape(sample(model).shape)
    np.testing.assert_allclose(run(small, x), run(model, x), atol=1e-3)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (convolution(np.random.default_rng(0), group=2), "groups"),
        (
            prepared(
                [node("ConvTranspose", ["x", "w"], ["y"], "up")],
                {"x": [1, 4, 5, 5]}, ["y"], {"w": normal(4, 6, 3, 3)},
            ),
            "transposed",
        ),
        (
            prepared(
                [
                    node("MatMul", ["x", "w"], ["h"], "one"),
                    node("MatMul", ["h", "w"], ["y"], "two"),
                ],
                {"x": [3, 8]}, ["y"], {"w": normal(8, 8)},
            ),
            "share",
        ),
    ],
)  # fmt: skip
def test_what_is_not_factored_says_why(model, reason: str) -> None:
    graph, weight = Graph(model), plan_model(model).weights[0]
    (holder,) = (each for each in graph.nodes if each.name == weight.node)
    assert reason in (refusal(graph, holder, weight) or "")
