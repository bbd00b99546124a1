"""Cases of QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx

from operator_cases.draw import Draw, generates

_EIGHT = ("int8", "uint8")


def _scales(draw: Draw, shape: list[int], dtype: str) -> tuple[np.ndarray, dict[str, int]]:
    """Powers of two, so that no quotient lies where rounding differs; per tensor or per axis."""
    if draw.opset < 13 or not shape or draw.chance(0.5):
        return (2.0 ** draw.array("int64", [], -4, 0)).astype(dtype), {}
    axis = draw.axis(len(shape))
    return (2.0 ** draw.array("int64", [shape[axis]], -4, 0)).astype(dtype), {"axis": axis}


@generates("QuantizeLinear")
def quantize(draw: Draw) -> None:
    dtype = draw.choose(["float32", "float32", "float16"] if draw.opset >= 19 else ["float32"])
    shape = draw.shape()
    scale, attributes = _scales(draw, shape, dtype)
    wide = ("int16", "uint16") if draw.opset >= 21 else ()
    inputs = [draw.input(draw.array(dtype, shape, -9, 9)), draw.constant(np.asarray(scale))]
    if draw.chance(0.8):
        to = draw.choose([*_EIGHT, *_EIGHT, *wide])
        inputs.append(draw.constant(draw.array(to, np.shape(scale), -9, 9)))
    draw.node(inputs, **attributes)


@generates("DequantizeLinear")
def dequantize(draw: Draw) -> None:
    dtype = draw.choose(["float32", "float32", "float16"] if draw.opset >= 19 else ["float32"])
    shape = draw.shape()
    scale, attributes = _scales(draw, shape, dtype)
    wide = ("int16", "uint16") if draw.opset >= 21 else ()
    source = draw.choose([*_EIGHT, *_EIGHT, "int32", *wide])
    if draw.opset >= 21 and draw.chance(0.3):
        _dequantize_four_bits(draw, shape, np.asarray(scale), attributes)
        return
    array = draw.array(source, shape, -99, 99)
    x = draw.input(array) if draw.chance(0.6) else draw.constant(array)
    inputs = [x, draw.constant(np.asarray(scale))]
    if source != "int32" and draw.chance(0.7):
        inputs.append(draw.constant(draw.array(source, np.shape(scale), -9, 9)))
    draw.node(inputs, **attributes)


def _dequantize_four_bits(
    draw: Draw, shape: list[int], scale: np.ndarray, attributes: dict[str, int]
) -> None:
    """Weights of 4 bits, per tensor or per axis."""
    kind = draw.choose(["int4", "uint4"])
    low, high = (-8, 7) if kind == "int4" else (0, 15)

    def four_bits(size: object) -> onnx.TensorProto:
        values = draw.array("int64", size, low, high).astype(getattr(ml_dtypes, kind))
        return onnx.numpy_helper.from_array(values)

    inputs = [draw.constant(four_bits(shape)), draw.constant(scale)]
    if draw.chance(0.7):
        inputs.append(draw.constant(four_bits(scale.shape)))
    draw.node(inputs, **attributes)


@generates("DynamicQuantizeLinear")
def dynamic(draw: Draw) -> None:
    shape = draw.shape(1, 4)
    # From 0 to 255 in halves: the scale is a power of two.
    array = draw.array("float32", shape, 0, 255)
    array.flat[0] = 255
    draw.node([draw.input(np.round(array))], 3)
