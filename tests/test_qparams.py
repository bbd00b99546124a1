import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tvmcomp.qparams import (
    MIN_SCALE,
    QParams,
    activation_qparams,
    dequantize,
    quantize,
    weight_qparams,
)

finite = st.floats(-(2.0**127), 2.0**127, width=32)
usual = st.floats(-1e6, 1e6, width=32)


@given(finite, finite)
def test_zero_is_exact_and_scale_is_normal(a, b):
    qparams = activation_qparams(min(a, b), max(a, b), "uint8")
    assert MIN_SCALE <= qparams.scale < np.inf
    assert 0 <= qparams.zero_point <= 255
    assert dequantize(quantize(np.zeros(1, np.float32), qparams), qparams)[0] == 0


@given(usual, usual, arrays(np.float32, 20, elements=usual))
def test_int8_is_uint8_shifted_by_128(a, b, values):
    lo, hi = min(a, b), max(a, b)
    unsigned, signed = (activation_qparams(lo, hi, dtype) for dtype in ("uint8", "int8"))
    assert unsigned.scale == signed.scale
    assert unsigned.zero_point - 128 == signed.zero_point
    left, right = quantize(values, unsigned), quantize(values, signed)
    np.testing.assert_array_equal(left.astype(int) - 128, right)
    np.testing.assert_array_equal(dequantize(left, unsigned), dequantize(right, signed))


@given(arrays(np.float32, 30, elements=usual))
def test_values_inside_the_range_are_within_a_step(values):
    qparams = activation_qparams(values.min(), values.max(), "uint8")
    error = np.abs(dequantize(quantize(values, qparams), qparams) - values)
    # Half a step by rounding, and up to half more at the ends, as the zero point is rounded too.
    assert (error <= qparams.scale * 1.001).all()


def test_rounding_is_half_to_even_and_saturates():
    qparams = QParams(np.array(1, np.float32), np.array(10, np.int32), "uint8")
    values = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 1e30, -1e30, np.inf], np.float32)
    np.testing.assert_array_equal(quantize(values, qparams), [10, 12, 12, 10, 8, 255, 0, 255])


def test_int32_saturates_at_its_own_ends():
    qparams = QParams(np.array(1, np.float32), np.array(0, np.int32), "int32")
    quantized = quantize(np.array([3e9, -3e9], np.float32), qparams)
    np.testing.assert_array_equal(quantized, [2**31 - 1, -(2**31)])


def test_range_is_widened_to_zero():
    assert activation_qparams(2, 4, "uint8").zero_point == 0
    assert activation_qparams(-4, -2, "uint8").zero_point == 255
    assert activation_qparams(2, 4, "uint8").scale == np.float32(4 / 255)


def test_all_zero_and_denormal_ranges():
    assert activation_qparams(0, 0, "uint8").scale == 1
    assert activation_qparams(0, 1e-42, "int8").scale == MIN_SCALE
    weight = weight_qparams(np.array([[0, 0], [1e-42, 0], [127, 1]], np.float32), 0)
    np.testing.assert_array_equal(weight.scale, np.array([1, MIN_SCALE, 1], np.float32))


@pytest.mark.parametrize("lo, hi", [(1, 0), (np.nan, 1), (0, np.inf)])
def test_no_range(lo, hi):
    with pytest.raises(ValueError, match="not a range"):
        activation_qparams(lo, hi, "uint8")


@pytest.mark.parametrize("axis", [0, 1, -1, None])
def test_weights_are_symmetric_per_channel(axis):
    weight = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    weight *= np.array([1, 10, 100, 1000], np.float32)[:, None, None]
    qparams = weight_qparams(weight, axis)
    assert qparams.scale.shape == (() if axis is None else (weight.shape[axis],))
    integers = quantize(weight, qparams)
    assert integers.dtype == np.int8
    channels = weight[None] if axis is None else np.moveaxis(weight, axis, 0)
    parts = integers[None] if axis is None else np.moveaxis(integers, axis, 0)
    for channel, part, scale in zip(channels, parts, np.atleast_1d(qparams.scale), strict=True):
        # A scale is rounded up to 8 significant bits, so the largest weight may come out at 126.
        assert np.abs(part.astype(int)).max() in (126, 127)
        assert np.abs(part * scale - channel).max() <= scale * 0.501


def test_weight_with_nan_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        weight_qparams(np.array([np.nan], np.float32), None)


def test_equality_and_shape_checks():
    assert activation_qparams(0, 1, "uint8") == activation_qparams(-0.0, 1, "uint8")
    assert activation_qparams(0, 1, "uint8") != activation_qparams(0, 1, "int8")
    assert activation_qparams(0, 1, "uint8") != activation_qparams(0, 2, "uint8")
    with pytest.raises(ValueError, match="axis"):
        QParams(np.ones(3, np.float32), np.zeros(3, np.int32), "int8")


def test_agrees_with_onnxruntime():
    onnxruntime = pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(size=2000), np.arange(-20, 20) / 2]).astype(np.float32)
    qparams = activation_qparams(-2.0, 3.1, "uint8")
    graph = helper.make_graph(
        [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, values.shape)],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, values.shape)],
        [
            helper.make_tensor("s", TensorProto.FLOAT, [], [float(qparams.scale)]),
            helper.make_tensor("z", TensorProto.UINT8, [], [int(qparams.zero_point)]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    np.testing.assert_array_equal(session.run(None, {"x": values})[0], quantize(values, qparams))


def test_a_single_channel_keeps_its_axis():
    assert weight_qparams(np.ones((1, 5), np.float32), 0).scale.shape == (1,)
