"""Cases of operators that work element by element."""

from __future__ import annotations

import numpy as np

from operator_cases.draw import Draw, generates

#: Where a function is defined, and steep enough to be compared: lowest and highest argument.
_DOMAINS = {
    "Acos": (-1, 1), "Acosh": (1, 9), "Asin": (-1, 1), "Atanh": (-0.95, 0.95), "Log": (0.05, 9),
    "Sqrt": (0, 9), "Tan": (-1.4, 1.4), "Reciprocal": (0.2, 4), "Exp": (-6, 3),
}  # fmt: skip


@generates(
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf", "Exp",
    "Floor", "HardSwish", "Identity", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round",
    "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "BitwiseNot",
)  # fmt: skip
def unary(draw: Draw) -> None:
    letter = {"Identity": "V" if draw.opset >= 14 else "T"}.get(draw.operator, "T")
    dtype, shape = draw.dtype(letter), draw.shape()
    if draw.operator == "Softsign":
        dtype = "float32"
    if draw.operator == "HardSwish" and dtype == "float64":
        draw.case.tolerance = 1e-6  # the standard's 1/6 is an attribute, of single precision
    if draw.operator == "Erf" and dtype == "float64":
        draw.case.tolerance = 1e-6  # onnx's reference computes it in single precision
    if draw.operator in _DOMAINS:
        array = draw.array(dtype, shape, *_DOMAINS[draw.operator])
    else:
        array = draw.wide(dtype, shape)
    if draw.operator in ("Ceil", "Floor", "Round"):
        array = (np.round(array * 2) / 2).astype(dtype)  # halves, where roundings differ
    if draw.operator in ("Abs", "Neg") and np.dtype(dtype).kind == "i":
        array = np.maximum(array, np.iinfo(dtype).min + 1)  # the lowest has no opposite
    draw.node([draw.tensor(array)])


@generates("IsNaN", "IsInf")
def special(draw: Draw) -> None:
    dtype = draw.dtype("T1")
    array = draw.array(dtype, draw.shape())
    array = np.where(draw.rng.random(array.shape) < 0.3, np.nan, array)
    array = np.where(draw.rng.random(array.shape) < 0.3, np.inf, array)
    array = np.where(draw.rng.random(array.shape) < 0.3, -np.inf, array).astype(dtype)
    signs = draw.maybe(detect_positive=draw.size(0, 1), detect_negative=draw.size(0, 1))
    draw.node([draw.tensor(array)], **(signs if draw.operator == "IsInf" else {}))


@generates("Elu", "Selu", "HardSigmoid", "LeakyRelu", "ThresholdedRelu", "Swish", "Shrink", "Gelu")
def activation(draw: Draw) -> None:
    attributes = {
        "Elu": {"alpha": 1.7},
        "Selu": {"alpha": 1.2, "gamma": 0.7},
        "HardSigmoid": {"alpha": 0.3, "beta": 0.4},
        "LeakyRelu": {"alpha": draw.choose([0.1, -0.5, 1.5])},
        "ThresholdedRelu": {"alpha": draw.choose([0.5, -0.5])},
        "Swish": {"alpha": 0.7},
        "Shrink": {"lambd": 0.7, "bias": 0.25},
        "Gelu": {"approximate": draw.choose(["none", "tanh"])},
    }[draw.operator]
    dtype = draw.dtype()
    if draw.operator == "Gelu" and dtype == "float64":
        draw.case.tolerance = 1e-6  # the constants of onnx's own body are of single precision
    if draw.operator == "Shrink" and dtype == "float64":
        draw.case.tolerance = 1e-6  # ONNX Runtime's double kernel rounds to single precision
    draw.node([draw.tensor(draw.array(dtype, draw.shape()))], **draw.maybe(**attributes))


@generates("PRelu")
def prelu(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(1, 4)
    slope = [1 if draw.chance(0.3) else size for size in shape[draw.size(0, len(shape)) :]]
    x = draw.tensor(draw.array(dtype, shape))
    draw.node([x, draw.tensor(draw.array(dtype, slope, -2, 2))])


@generates("Add", "Sub", "Mul", "And", "Or", "Xor", "BitwiseAnd", "BitwiseOr", "BitwiseXor")
def binary(draw: Draw) -> None:
    dtype = draw.dtype()
    draw.node([draw.tensor(draw.wide(dtype, shape)) for shape in draw.broadcast(2)])


@generates("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
def comparison(draw: Draw) -> None:
    dtype = draw.dtype()
    arrays = [draw.array(dtype, shape) for shape in draw.broadcast(2)]
    if dtype.startswith("float"):
        arrays = [np.round(array).astype(dtype) for array in arrays]  # so that some are equal
    elif draw.chance(0.3):
        arrays = [draw.wide(dtype, array.shape) for array in arrays]
    draw.node([draw.tensor(array) for array in arrays])


@generates("Div")
def division(draw: Draw) -> None:
    dtype = draw.dtype()
    left, right = draw.broadcast(2)
    divisor = draw.array(dtype, right, -5, 5)
    divisor = np.where(np.abs(divisor.astype("float64")) < 0.2, 1, divisor).astype(dtype)
    dividend = draw.wide(dtype, left)
    if np.dtype(dtype).kind == "i":
        dividend = np.maximum(dividend, np.iinfo(dtype).min + 1)  # by -1 it overflows
    draw.node([draw.tensor(dividend), draw.tensor(divisor)])


@generates("Mod")
def modulo(draw: Draw) -> None:
    dtype = draw.dtype()
    left, right = draw.broadcast(2)
    divisor = draw.array(dtype, right, -5, 5)
    divisor = np.where(np.abs(divisor.astype("float64")) < 0.2, 2, divisor).astype(dtype)
    fmod = 1 if dtype.startswith("float") else draw.size(0, 1)
    dividend = draw.array(dtype, left, -40, 40)
    attributes = {"fmod": fmod} if fmod or draw.chance(0.5) else {}
    draw.node([draw.tensor(dividend), draw.tensor(divisor)], **attributes)


@generates("BitShift")
def shift(draw: Draw) -> None:
    dtype = draw.dtype()
    left, right = draw.broadcast(2)
    bits = np.iinfo(dtype).bits
    by = draw.array(dtype, right, 0, bits - 1)
    direction = draw.choose(["LEFT", "RIGHT"])
    draw.node([draw.tensor(draw.wide(dtype, left)), draw.tensor(by)], direction=direction)


@generates("Pow")
def power(draw: Draw) -> None:
    dtype = draw.dtype("T")
    other = dtype if draw.opset < 12 else draw.dtype("T1")
    left, right = draw.broadcast(2)
    if draw.chance(0.4):
        right = []
    base = draw.array(dtype, left, 0.2 if np.dtype(dtype).kind == "f" else 1, 3)
    exponent = draw.array(other, right, 0, 3)
    if draw.chance(0.4):
        exponent = np.full_like(exponent, draw.choose([0, 1, 2, 3]))
        base = draw.array(dtype, left, -3, 3)
    x = draw.input(base)
    draw.node([x, draw.constant(exponent) if draw.chance(0.6) else draw.input(exponent)])


@generates("Max", "Min", "Sum", "Mean")
def variadic(draw: Draw) -> None:
    dtype = draw.dtype()
    shapes = draw.broadcast(draw.size(1, 4))
    if draw.opset < 8 or (draw.operator == "Mean" and dtype == "float64"):
        shapes = [shapes[0] for _ in shapes]  # nothing was broadcast then
    draw.node([draw.tensor(draw.array(dtype, shape)) for shape in shapes])


@generates("Clip")
def clip(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape()
    x = draw.tensor(draw.wide(dtype, shape))
    low, high = np.asarray(draw.choose([0, 1])).astype(dtype), np.asarray(3).astype(dtype)
    if draw.opset < 11:
        draw.node([x], **draw.maybe(min=float(low), max=float(high)))
        return
    bounds = [draw.tensor(bound) if draw.chance(0.7) else "" for bound in (low, high)]
    while bounds and not bounds[-1]:
        bounds.pop()
    draw.node([x, *bounds])


@generates("Where")
def where(draw: Draw) -> None:
    dtype = draw.dtype()
    condition, left, right = draw.broadcast(3)
    tensors = [draw.tensor(draw.wide(dtype, shape)) for shape in (left, right)]
    draw.node([draw.tensor(draw.array("bool", condition)), *tensors])


@generates("Cast")
def cast(draw: Draw) -> None:
    source, to = draw.dtype("T1"), draw.dtype("T2")
    shape = draw.shape()
    kinds = np.dtype(source).kind, np.dtype(to).kind
    low = 0 if kinds[1] == "u" and kinds[0] == "f" else -100
    array = draw.array(source, shape, low, 100)
    if kinds in (("i", "i"), ("i", "u"), ("u", "i"), ("u", "u")):
        array = draw.wide(source, shape)
    if kinds[1] == "b":
        array = (array // 50).astype(source) if kinds[0] != "b" else array
    if draw.chance(0.3) and kinds == ("f", "b"):
        array = draw.array(source, shape, -1, 1)
    draw.node([draw.tensor(array)], to=_element_type(to))


@generates("CastLike")
def cast_like(draw: Draw) -> None:
    source, to = draw.dtype("T1"), draw.dtype("T2")
    unsigned = np.dtype(to).kind == "u" and np.dtype(source).kind == "f"
    array = draw.array(source, draw.shape(), 0 if unsigned else -100, 100)
    draw.node([draw.tensor(array), draw.tensor(draw.array(to, draw.shape()))])


def _element_type(dtype: str) -> int:
    import onnx

    return onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
