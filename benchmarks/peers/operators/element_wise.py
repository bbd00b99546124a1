"""What works element by element."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import helper

from benchmarks.peers.operators.case import Draw, OperatorCase


def element_wise(draw: Draw) -> Iterator[OperatorCase]:
    """Unary, binary and conversions."""
    shape = (64, 50, 47)
    for operator in [
        "Abs",
        "Neg",
        "Exp",
        "Sqrt",
        "Sin",
        "Cos",
        "Tan",
        "Asin",
        "Atan",
        "Sinh",
        "Cosh",
        "Tanh",
        "Sigmoid",
        "Erf",
        "Softplus",
        "Softsign",
        "Elu",
        "Selu",
        "Celu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Relu",
        "ThresholdedRelu",
        "Floor",
        "Ceil",
        "Round",
        "Sign",
        "Reciprocal",
        "IsNaN",
        "Mish",
        "Gelu",
    ]:
        opset = 20 if operator == "Gelu" else 18
        data = np.clip(draw(shape), -1, 1) if operator == "Asin" else draw(shape)
        yield OperatorCase(operator, operator, {"x": data}, opset=opset)
    yield OperatorCase("Log", "Log", {"x": np.abs(draw(shape)) + 0.1})
    for operator in ("Add", "Mul", "Div", "Sub", "Max", "Min", "Mod", "Pow"):
        for dtype in ("float32", "float64", "int32", "int64"):
            a, b = draw(shape, dtype), np.abs(draw(shape, dtype)) + 1
            if operator == "Pow":
                a = np.abs(a) + 1
            attributes = {"fmod": 1} if operator == "Mod" and dtype[0] == "f" else {}
            b = np.minimum(b, 3).astype(dtype) if operator == "Pow" else b.astype(dtype)
            yield OperatorCase(
                f"{operator} {dtype}",
                operator,
                {"a": a.astype(dtype), "b": b},
                attributes=attributes,
            )
    for label, other in (("inner", (47,)), ("row", (50, 1)), ("outer", (64, 1, 1))):
        yield OperatorCase(f"Add broadcast {label}", "Add", {"a": draw(shape), "b": draw(other)})
    inputs = {"c": draw(shape, "bool"), "a": draw(shape), "b": draw(shape)}
    yield OperatorCase("Where", "Where", inputs)
    inputs = {"c": draw((50, 1), "bool"), "a": draw(shape), "b": draw((1,))}
    yield OperatorCase("Where broadcast", "Where", inputs)
    for operator in ("Equal", "Less", "Greater"):
        yield OperatorCase(operator, operator, {"a": draw(shape), "b": draw(shape)})
    yield OperatorCase("And", "And", {"a": draw(shape, "bool"), "b": draw(shape, "bool")})
    yield OperatorCase("Not", "Not", {"a": draw(shape, "bool")})
    yield OperatorCase(
        "BitShift",
        "BitShift",
        {"a": draw(shape, "uint8"), "b": draw((1,), "uint8") % 4},
        attributes={"direction": "LEFT"},
    )
    for source, to in (
        ("float32", "float16"),
        ("float16", "float32"),
        ("float32", "int8"),
        ("int64", "float32"),
        ("float32", "int64"),
        ("uint8", "float32"),
        ("float32", "bool"),
        ("float64", "float32"),
    ):
        data = draw(shape, source)
        yield OperatorCase(
            f"Cast {source} {to}",
            "Cast",
            {"x": data},
            attributes={"to": helper.np_dtype_to_tensor_dtype(np.dtype(to))},
        )
    scale = {"s": np.array(0.05, "float32"), "z": np.array(3, "uint8")}
    yield OperatorCase("QuantizeLinear", "QuantizeLinear", {"x": draw(shape)}, scale)
    yield OperatorCase("DequantizeLinear", "DequantizeLinear", {"x": draw(shape, "uint8")}, scale)
    yield OperatorCase(
        "DynamicQuantizeLinear", "DynamicQuantizeLinear", {"x": draw(shape)}, outputs=3
    )
    yield OperatorCase("PRelu", "PRelu", {"x": draw((1, 64, 56, 56))}, {"s": draw((64, 1, 1))})
    yield OperatorCase(
        "Clip",
        "Clip",
        {"x": draw(shape)},
        {"l": np.array(-1, "float32"), "h": np.array(1, "float32")},
    )
