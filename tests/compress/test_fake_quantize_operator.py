"""FakeQuantize: what it computes, and its gradients by the formulas of the papers."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

torch = pytest.importorskip("torch")

from tvmcomp.compress.network import TrainableNetwork  # noqa: E402

SHAPE = (1, 4, 5)


def network_of(scale, zero=None, *, bits=8, signed=False, axis=0, shape=SHAPE):
    arrays = {"scale": np.asarray(scale, "float32")}
    if zero is not None:
        arrays["zero"] = np.asarray(zero, "float32")
    node = helper.make_node(
        "FakeQuantize", ["x", *arrays], ["y"], "fake", domain="tvmcomp",
        bits=bits, signed=int(signed), narrow=int(signed), axis=axis,
    )  # fmt: skip
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "test",
        [value("x", TensorProto.FLOAT, shape)],
        [value("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("tvmcomp", 1)]
    return TrainableNetwork(helper.make_model(graph, opset_imports=opsets))


def data(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_it_rounds_as_the_standards_operators_do():
    x = 2 * data(*SHAPE)
    (got,) = network_of(0.02, 100.0)(x)
    codes = np.clip(np.rint(x.numpy() / np.float32(0.02)) + 100, 0, 255)
    np.testing.assert_array_equal(got.detach(), (codes - 100).astype("f4") * np.float32(0.02))


@pytest.mark.parametrize("bits", range(2, 9))
def test_a_weight_has_codes_on_both_sides_and_zero_among_them(bits):
    x = 3 * data(*SHAPE)
    (got,) = network_of([0.5] * 4, bits=bits, signed=True, axis=1)(x)
    codes = got.detach().numpy() / 0.5
    assert np.array_equal(
        codes, np.clip(np.rint(x / 0.5), -(2 ** (bits - 1)) + 1, 2 ** (bits - 1) - 1)
    )


def test_a_weights_scale_is_used_as_the_bfloat16_that_is_stored():
    (got,) = network_of([0.3] * 4, signed=True, axis=1)(torch.ones(SHAPE))
    stored = float(torch.tensor(0.3).bfloat16())
    assert torch.equal(got, torch.full(SHAPE, round(1 / stored) * np.float32(stored)))


def test_a_zero_point_is_used_whole_and_within_the_range():
    x = torch.full(SHAPE, -1.0)
    assert float(network_of(0.01, 3.4)(x)[0][0, 0, 0]) == pytest.approx(-0.03)
    assert float(network_of(0.01, -7.0)(x)[0][0, 0, 0]) == 0


def test_gradients_of_scale_and_zero_point_are_those_of_lsq_plus():
    """Esser et al., equation 3; Bhalgat et al., equations 6 and 7, with beta = -zero * scale."""
    x = (2 * data(*SHAPE)).requires_grad_()
    network = network_of(0.01, 90.0)
    upstream = data(*SHAPE, seed=1)
    network(x)[0].backward(upstream)
    steps = x.detach() / 0.01
    low, high = steps < -90, steps > 165
    inside = ~(low | high)
    of_scale = torch.where(inside, torch.round(steps) - steps, torch.where(low, -90.0, 165.0))
    share = 1 / math.sqrt(x.numel() * 255)
    weights = network.weights()
    torch.testing.assert_close(
        weights["scale"].grad, (upstream * of_scale).sum() * share, rtol=1e-4, atol=1e-6
    )
    of_zero = torch.where(inside, 0.0, -0.01)
    torch.testing.assert_close(weights["zero"].grad, (upstream * of_zero).sum() * share)
    torch.testing.assert_close(x.grad, upstream * inside)
    assert low.any() and high.any() and inside.any()


def test_each_channels_scale_has_the_gradient_of_its_weights():
    x = data(*SHAPE)
    network = network_of([0.125, 0.25, 0.5, 1.0], bits=3, signed=True, axis=1)
    upstream = data(*SHAPE, seed=1)
    network(x)[0].backward(upstream)
    steps = x / torch.tensor([0.125, 0.25, 0.5, 1.0]).reshape(-1, 1)
    clipped = torch.clamp(steps, -3, 3)
    of_scale = torch.where(steps == clipped, torch.round(steps) - steps, clipped)
    want = (upstream * of_scale).sum((0, 2)) / math.sqrt(5 * 3)
    torch.testing.assert_close(network.weights()["scale"].grad, want)


def test_samples_run_at_once_have_the_gradients_of_single_ones():
    x = data(6, *SHAPE)
    network = network_of(0.01, 120.0)
    torch.func.vmap(network)(x)[0].sum().backward()
    together = {name: each.grad.clone() for name, each in network.weights().items()}
    network.zero_grad()
    sum(network(sample)[0].sum() for sample in x).backward()
    for name, each in network.weights().items():
        torch.testing.assert_close(each.grad, together[name], rtol=1e-4, atol=1e-5)


def test_scales_and_zero_points_go_back_into_the_graph():
    network = network_of(0.02, 100.0)
    with torch.no_grad():
        network.weights()["scale"].fill_(0.5)
    back = TrainableNetwork(onnx.ModelProto.FromString(network.to_onnx().SerializeToString()))
    assert float(back.weights()["scale"]) == 0.5
    assert set(back.weights()) == {"scale", "zero"}
