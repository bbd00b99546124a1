"""Cases of the standard's and of ONNX Runtime's quantized operators; results may differ by a step
where a quotient lies at a tie."""

from __future__ import annotations

import numpy as np

from operator_cases.draw import Draw, generates
from operator_cases.windows import _geometry, _image

_EIGHT = ("int8", "uint8")
_MS = "com.microsoft."


def _scale(draw: Draw, shape: tuple[int, ...] = ()) -> np.ndarray:
    return draw.rng.uniform(0.01, 0.1, shape).astype("float32")


def _quantization(draw: Draw, dtype: str, low: float = 0.02, high: float = 0.1) -> list[str]:
    """A scale and a zero point."""
    scale = np.float32(draw.rng.uniform(low, high))
    zero = draw.array(dtype, [], 100, 150) if dtype == "uint8" else draw.array(dtype, [], -20, 20)
    return [draw.constant(scale), draw.constant(zero)]


def _tensor(draw: Draw, dtype: str, shape: list[int]) -> list[str]:
    """A quantized input, its scale and zero point."""
    return [draw.input(draw.array(dtype, shape, -128, 255)), *_quantization(draw, dtype)]


def _finish(draw: Draw, inputs: list[str], dtype: str, **attributes: object) -> None:
    (name,) = draw.node(inputs, **attributes)
    draw.case.types[name] = dtype
    draw.case.tolerance = 1


def _weight(draw: Draw, data_type: str, shape: list[int], columns: int) -> list[str]:
    """A constant weight, with a scale for each of ``columns`` or one."""
    dtype = "int8" if data_type == "int8" else draw.choose(_EIGHT)
    several = draw.chance(0.5)
    scale = _scale(draw, (columns,) if several else ())
    zero = np.zeros(scale.shape, dtype) if dtype == "int8" else np.full(scale.shape, 128, dtype)
    weight = draw.array(dtype, shape, -128, 255)
    return [draw.constant(weight), draw.constant(scale), draw.constant(zero)]


@generates("QLinearConv")
def convolution(draw: Draw) -> None:
    dtype, dims = draw.choose(_EIGHT), draw.choose([1, 2, 2])
    kernel = [draw.choose([1, 2, 3]) for _ in range(dims)]
    attributes = _geometry(draw, dims, kernel)
    image = _image(draw, dims, kernel, attributes)
    groups = draw.choose([1, 1, 2])
    inner, outer = groups * draw.choose([1, 2, 5]), groups * draw.choose([1, 2, 4])
    if groups > 1:
        attributes["group"] = groups
    inputs = _tensor(draw, dtype, [draw.size(1, 2), inner, *image])
    inputs += _weight(draw, dtype, [outer, inner // groups, *kernel], outer)
    inputs += _quantization(draw, dtype, 0.2, 1.0)
    if draw.chance(0.6):
        inputs.append(draw.constant(draw.array("int32", [outer], -2000, 2000)))
    _finish(draw, inputs, dtype, **attributes)


@generates("QLinearMatMul")
def product(draw: Draw) -> None:
    dtype = draw.choose(_EIGHT)
    m, k, n = (int(draw.choose((1, 2, 3, 5, 8, 17))) for _ in range(3))
    batch = draw.shape(0, 1, (1, 2))
    inputs = _tensor(draw, dtype, [*batch, m, k])
    inputs += _weight(draw, dtype, [k, n], n)
    inputs += _quantization(draw, dtype, 0.2, 1.0)
    _finish(draw, inputs, dtype)


@generates(_MS + "QGemm")
def gemm(draw: Draw) -> None:
    dtype = draw.choose(_EIGHT)
    m, k, n = (int(draw.choose((1, 2, 3, 5, 8, 17))) for _ in range(3))
    flips = draw.maybe(transB=draw.size(0, 1))
    inputs = _tensor(draw, dtype, [m, k])
    inputs += _weight(draw, dtype, [n, k] if flips.get("transB") else [k, n], n)
    inputs.append(draw.constant(draw.array("int32", [n], -2000, 2000)) if draw.chance(0.6) else "")
    quantized = draw.chance(0.7)
    if quantized:
        inputs += _quantization(draw, dtype, 0.2, 1.0)
    elif not inputs[-1]:
        inputs.pop()
    _finish(draw, inputs, dtype if quantized else "float32", **flips)
    if not quantized:
        draw.case.tolerance = 1e-4


@generates(_MS + "QLinearAdd", _MS + "QLinearMul")
def binary(draw: Draw) -> None:
    dtype = draw.choose(_EIGHT)
    left, right = draw.broadcast(2)
    inputs = [*_tensor(draw, dtype, left), *_tensor(draw, dtype, right)]
    _finish(draw, [*inputs, *_quantization(draw, dtype)], dtype)


@generates(_MS + "QLinearSigmoid", _MS + "QLinearLeakyRelu", _MS + "QLinearSoftmax")
def unary(draw: Draw) -> None:
    dtype, shape = draw.choose(_EIGHT), draw.shape(1, 4)
    attributes = {}
    if draw.operator == "QLinearLeakyRelu":
        attributes = draw.maybe(alpha=0.2)
    small = [0.004, 0.008] if draw.operator != "QLinearLeakyRelu" else [0.02, 0.1]
    if draw.operator == "QLinearSoftmax":
        # ONNX Runtime takes the whole part of 1 / scale, which is 256 as its quantizer writes it.
        lowest = np.array(np.iinfo(dtype).min, dtype)
        axis = draw.size(-len(shape), len(shape) - 1)
        inputs = _tensor(draw, dtype, shape)
        inputs += [draw.constant(np.float32(1 / 256)), draw.constant(lowest)]
        _finish(draw, inputs, dtype, axis=axis, opset=draw.opset)
        return
    inputs = [*_tensor(draw, dtype, shape), *_quantization(draw, dtype, *small)]
    _finish(draw, inputs, dtype, **attributes)


@generates(_MS + "QLinearAveragePool", _MS + "QLinearGlobalAveragePool")
def average(draw: Draw) -> None:
    dtype = draw.choose(_EIGHT)
    last = draw.chance(0.4)
    kernel = [draw.size(1, 3) for _ in range(2)]
    attributes: dict[str, object] = {}
    if draw.operator == "QLinearAveragePool":
        attributes = {"kernel_shape": kernel} | draw.maybe(
            strides=[draw.size(1, 2) for _ in range(2)], count_include_pad=draw.size(0, 1)
        )
    shape = [draw.size(1, 2), draw.size(1, 5), draw.size(3, 8), draw.size(3, 8)]
    if last:
        shape = [shape[0], *shape[2:], shape[1]]
        attributes["channels_last"] = 1
    inputs = [*_tensor(draw, dtype, shape), *_quantization(draw, dtype)]
    _finish(draw, inputs, dtype, **attributes)


@generates(_MS + "QLinearConcat")
def concatenation(draw: Draw) -> None:
    dtype, shape = draw.choose(_EIGHT), draw.shape(1, 4)
    axis = draw.size(-len(shape), len(shape) - 1)
    inputs = _quantization(draw, dtype)
    for _ in range(draw.size(1, 3)):
        shape = list(shape)
        shape[axis] = draw.size(1, 4)
        inputs += _tensor(draw, dtype, shape)
    _finish(draw, inputs, dtype, axis=axis)


@generates(_MS + "QLinearWhere")
def choice(draw: Draw) -> None:
    dtype = draw.choose(_EIGHT)
    condition, left, right = draw.broadcast(3, 1)
    inputs = [draw.input(draw.array("bool", condition))]
    inputs += [*_tensor(draw, dtype, left), *_tensor(draw, dtype, right)]
    _finish(draw, [*inputs, *_quantization(draw, dtype)], dtype)


@generates(_MS + "NhwcMaxPool")
def largest(draw: Draw) -> None:
    dtype = draw.choose(_EIGHT)
    shape = [draw.size(1, 2), draw.size(3, 8), draw.size(3, 8), draw.size(1, 5)]
    x = draw.input(draw.array(dtype, shape, -128, 255))
    strides = draw.maybe(strides=[draw.size(1, 2) for _ in range(2)])
    (name,) = draw.node([x], kernel_shape=[draw.size(1, 3) for _ in range(2)], **strides)
    draw.case.types[name] = dtype


@generates(_MS + "DynamicQuantizeMatMul")
def dynamic_product(draw: Draw) -> None:
    m, k, n = (int(draw.choose((1, 2, 3, 5, 8, 17))) for _ in range(3))
    x = np.round(draw.array("float32", [m, k], 0, 255))
    x.flat[0] = 255  # so that the scale is 1, and no quotient lies at a tie
    inputs = [draw.input(x), *_weight(draw, "uint8", [k, n], n)]
    if draw.chance(0.5):
        inputs.append(draw.tensor(draw.array("float32", [n])))
    (name,) = draw.node(inputs)
    draw.case.types[name] = "float32"
    draw.case.tolerance = 1e-4


@generates(_MS + "MatMulIntegerToFloat")
def integer_product(draw: Draw) -> None:
    m, k, n = (int(draw.choose((1, 2, 3, 5, 8, 17))) for _ in range(3))
    left, scale, zero = _tensor(draw, "uint8", [m, k])
    weight, weight_scale, weight_zero = _weight(draw, "uint8", [k, n], n)
    inputs = [left, weight, scale, weight_scale, zero, weight_zero]
    if draw.chance(0.5):
        inputs.append(draw.tensor(draw.array("float32", [n])))
    (name,) = draw.node(inputs)
    draw.case.types[name] = "float32"
    draw.case.tolerance = 1e-4


@generates(_MS + "MatMulNBits")
def block_product(draw: Draw) -> None:
    block, columns, bits = draw.choose([16, 32, 64, 128, 256]), draw.size(1, 9), 4
    depth = block * draw.size(1, 3) - (draw.choose([0, 4, 8]) if draw.chance(0.3) else 0)
    blocks = -(-depth // block)
    if draw.chance(0.3):
        bits = 8
    inputs = [
        draw.input(draw.array("float32", [draw.size(1, 4), depth])),
        draw.constant(draw.array("uint8", [columns, blocks, block * bits // 8], 0, 255)),
        draw.constant(draw.array("float32", [columns * blocks], 0.01, 0.1)),
    ]
    # With g_idx ONNX Runtime has 4 bits only, and takes 8 for every zero point.
    if bits == 4 and draw.chance(0.3):
        inputs += ["", draw.constant(draw.array("int32", [depth], 0, blocks - 1))]
    elif draw.chance(0.5):
        packed = columns * (-(-blocks * bits // 8))
        inputs.append(draw.constant(draw.array("uint8", [packed], 0, 255)))
    draw.node(inputs, K=depth, N=columns, bits=bits, block_size=block)
    draw.case.tolerance = 1e-4


@generates(_MS + "QuantizeLinear", _MS + "DequantizeLinear")
def steps(draw: Draw) -> None:
    dtype, shape = draw.choose(_EIGHT), draw.shape(1, 4)
    axis = draw.size(0, len(shape) - 1)
    several = draw.chance(0.5)
    count = (shape[axis],) if several else ()
    scale = (2.0 ** draw.array("int64", list(count), -4, 0)).astype("float32")
    zero = draw.constant(draw.array(dtype, list(count), 0, 9))
    attributes = {"axis": axis} if several else {}
    to_real = draw.operator == "DequantizeLinear"
    kind = dtype if to_real else "float32"
    x = draw.input(draw.array(kind, shape, -9, 9))
    (name,) = draw.node([x, draw.constant(np.asarray(scale)), zero], **attributes)
    draw.case.types[name] = "float32" if to_real else dtype
