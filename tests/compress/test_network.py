"""A whole network in torch: what it computes, what of it is trained, and back to ONNX."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx_models import save

torch = pytest.importorskip("torch")

from tvmcomp.compress.network import TrainableNetwork  # noqa: E402
from tvmcomp.errors import ModelError  # noqa: E402
from tvmcomp.frontend.binding import Binding  # noqa: E402
from tvmcomp.frontend.onnx.prepare import prepare  # noqa: E402

node = helper.make_node


def network_of(path, **dims):
    return TrainableNetwork(prepare(onnx.load(path), Binding({}, dims, {}), where=str(path)).model)


def onnxruntime_of(model, feeds):
    content = model if isinstance(model, bytes) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


@pytest.fixture
def small(tmp_path):
    """A convolution, a Clip, a Reshape that says the batch, and a product."""
    rng = np.random.default_rng(0)
    return save(
        tmp_path / "m.onnx",
        [
            node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3]),
            node("Clip", ["c", "low", "high"], ["r"]),
            node("Reshape", ["r", "shape"], ["f"]),
            node("MatMul", ["f", "m"], ["y"]),
        ],
        {"x": (1, 2, 5, 5)},
        ["y"],
        weights={
            "w": rng.standard_normal((3, 2, 3, 3)).astype("float32"),
            "b": rng.standard_normal(3).astype("float32"),
            "low": np.float32(0),
            "high": np.float32(6),
            "shape": np.array([1, 27]),
            "m": rng.standard_normal((27, 4)).astype("float32"),
        },
    )


def test_weights_are_trained_and_settings_are_not(small):
    assert set(network_of(small).weights()) == {"w", "b", "m"}


def test_it_computes_what_onnxruntime_computes(small):
    x = np.random.default_rng(1).standard_normal((1, 2, 5, 5)).astype("float32")
    with torch.no_grad():
        (got,) = network_of(small)(torch.from_numpy(x))
    (want,) = onnxruntime_of(small.read_bytes(), {"x": x})
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_samples_run_at_once_through_a_network_of_one(small):
    network = network_of(small)
    x = torch.randn(6, 1, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    (together,) = torch.func.vmap(network)(x)
    for sample, got in zip(x, together, strict=True):
        torch.testing.assert_close(got, network(sample)[0])
    together.square().mean().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in network.weights().values())


def test_trained_weights_go_back_into_the_graph(small):
    network = network_of(small)
    with torch.no_grad():
        for weight in network.weights().values():
            weight.mul_(0.5)
    x = np.random.default_rng(1).standard_normal((1, 2, 5, 5)).astype("float32")
    with torch.no_grad():
        (got,) = network(torch.from_numpy(x))
    (want,) = onnxruntime_of(network.to_onnx(), {"x": x})
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_what_is_rounded_passes_its_gradient(tmp_path):
    path = save(
        tmp_path / "q.onnx",
        [
            node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ],
        {"x": (5,)},
        ["y"],
        weights={"s": np.float32(0.5), "z": np.int8(3)},
    )
    network = network_of(path)
    x = torch.tensor([0.3, -1.26, 61.9, 70.0, -80.0], requires_grad=True)
    (y,) = network(x)
    (want,) = onnxruntime_of(path.read_bytes(), {"x": x.detach().numpy()})
    np.testing.assert_array_equal(y.detach(), want)
    y.sum().backward()
    # Beyond the range there is none.
    np.testing.assert_allclose(x.grad, [1, 1, 1, 0, 0], atol=1e-6)
    assert set(network.weights()) == {"s"}


def test_a_node_that_gradients_do_not_flow_through_is_named(tmp_path):
    path = save(
        tmp_path / "d.onnx", [node("Det", ["x"], ["y"], name="how_large")], {"x": (3, 3)}, ["y"]
    )
    network = network_of(path)
    assert network.without_gradient == ("how_large",)
    x = torch.randn(3, 3)
    torch.testing.assert_close(network(x)[0], torch.linalg.det(x))


def test_a_branch_that_depends_on_data_is_refused(tmp_path):
    def branch(operator):
        result = helper.make_tensor_value_info("r", TensorProto.FLOAT, None)
        return helper.make_graph([node(operator, ["x", "x"], ["r"])], "branch", [], [result])

    path = save(
        tmp_path / "i.onnx",
        [node("If", ["c"], ["y"], then_branch=branch("Add"), else_branch=branch("Mul"))],
        {"c": (), "x": (2,)},
        ["y"],
        types={"c": TensorProto.BOOL},
    )
    with pytest.raises(ModelError, match="depends on data"):
        network_of(path)
