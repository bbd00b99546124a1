"""Convolutions, transposed ones and pools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.peers.operators.case import Draw, OperatorCase

_CONVOLUTIONS: dict[str, tuple[Sequence[int], Sequence[int], dict[str, Any]]] = {
    "3x3": ((1, 64, 28, 28), (64, 64, 3, 3), {"pads": [1] * 4}),
    "2 groups": ((1, 64, 28, 28), (64, 32, 3, 3), {"pads": [1] * 4, "group": 2}),
    "8 groups": ((1, 64, 28, 28), (64, 8, 3, 3), {"pads": [1] * 4, "group": 8}),
    "32 groups of 4": ((1, 128, 28, 28), (128, 4, 3, 3), {"pads": [1] * 4, "group": 32}),
    "32 groups of 2": ((1, 64, 28, 28), (64, 2, 3, 3), {"pads": [1] * 4, "group": 32}),
    "3 groups of 7 to 5": ((1, 21, 28, 28), (15, 7, 3, 3), {"pads": [1] * 4, "group": 3}),
    "16 groups of 1 to 3": ((1, 16, 28, 28), (48, 1, 3, 3), {"pads": [1] * 4, "group": 16}),
    "16 groups of 3 to 1": ((1, 48, 28, 28), (16, 3, 3, 3), {"pads": [1] * 4, "group": 16}),
    "depthwise multiplier 2": ((1, 64, 28, 28), (128, 1, 3, 3), {"pads": [1] * 4, "group": 64}),
    "depthwise multiplier 4": ((1, 64, 28, 28), (256, 1, 3, 3), {"pads": [1] * 4, "group": 64}),
    "depthwise 3x3": ((1, 64, 56, 56), (64, 1, 3, 3), {"pads": [1] * 4, "group": 64}),
    "depthwise odd channels": ((1, 37, 56, 56), (37, 1, 3, 3), {"pads": [1] * 4, "group": 37}),
    "depthwise 31x31": ((1, 16, 32, 32), (16, 1, 31, 31), {"pads": [15] * 4, "group": 16}),
    "depthwise 7x7": ((1, 96, 28, 28), (96, 1, 7, 7), {"pads": [3] * 4, "group": 96}),
    "depthwise dilated": (
        (1, 64, 28, 28),
        (64, 1, 3, 3),
        {"pads": [2] * 4, "group": 64, "dilations": [2, 2]},
    ),
    "dilation 2": ((1, 32, 28, 28), (32, 32, 3, 3), {"pads": [2] * 4, "dilations": [2, 2]}),
    "dilation 6": ((1, 32, 33, 33), (32, 32, 3, 3), {"pads": [6] * 4, "dilations": [6, 6]}),
    "7x7 stride 2": ((1, 3, 112, 112), (64, 3, 7, 7), {"pads": [3] * 4, "strides": [2, 2]}),
    "11x11 stride 4": ((1, 3, 112, 112), (32, 3, 11, 11), {"strides": [4, 4]}),
    "31x31": ((1, 4, 64, 64), (4, 4, 31, 31), {"pads": [15] * 4}),
    "1x1 odd": ((1, 37, 28, 28), (53, 37, 1, 1), {}),
    "1x15": ((1, 16, 28, 64), (16, 16, 1, 15), {}),
    "one channel out": ((1, 64, 56, 56), (1, 64, 3, 3), {"pads": [1] * 4}),
    "1-d": ((1, 64, 500), (64, 64, 5), {"pads": [2] * 2}),
    "1-d depthwise": ((1, 64, 2000), (64, 1, 15), {"pads": [7] * 2, "group": 64}),
    "1-d grouped": ((1, 64, 1000), (64, 16, 5), {"pads": [2] * 2, "group": 4}),
    "1-d dilated": ((1, 64, 1000), (64, 64, 3), {"dilations": [4]}),
    "1-d wave": ((1, 1, 16000), (64, 1, 400), {"strides": [160]}),
    "3-d": ((1, 16, 8, 16, 16), (16, 16, 3, 3, 3), {"pads": [1] * 6}),
    "3-d depthwise": ((1, 32, 8, 16, 16), (32, 1, 3, 3, 3), {"pads": [1] * 6, "group": 32}),
    "3-d grouped": ((1, 32, 8, 16, 16), (32, 8, 3, 3, 3), {"pads": [1] * 6, "group": 4}),
}


def convolutions(draw: Draw) -> Iterator[OperatorCase]:
    """Conv."""
    for label, (x, w, attributes) in _CONVOLUTIONS.items():
        data, weight = draw(x), draw(w)
        yield OperatorCase(f"Conv {label}", "Conv", {"x": data}, {"w": weight}, (), attributes)
        if label in ("3x3", "8 groups", "depthwise 3x3", "1-d", "3-d"):
            name = f"Conv {label}, weights given"
            yield OperatorCase(name, "Conv", {"x": data, "w": weight}, attributes=attributes)
            for dtype in ("float16", "float64"):
                yield OperatorCase(
                    f"Conv {dtype} {label}",
                    "Conv",
                    {"x": data.astype(dtype)},
                    {"w": weight.astype(dtype)},
                    (),
                    attributes,
                )


_TRANSPOSED: dict[str, tuple[Sequence[int], Sequence[int], dict[str, Any]]] = {
    "stride 2": ((1, 64, 32, 32), (64, 32, 4, 4), {"strides": [2, 2], "pads": [1] * 4}),
    "depthwise": (
        (1, 64, 32, 32),
        (64, 1, 4, 4),
        {"strides": [2, 2], "pads": [1] * 4, "group": 64},
    ),
    "2 groups stride 3": ((1, 32, 20, 20), (32, 16, 5, 5), {"strides": [3, 3], "group": 2}),
    "8 groups": ((1, 64, 20, 20), (64, 8, 4, 4), {"strides": [2, 2], "group": 8}),
    "dilation 2": ((1, 32, 20, 20), (32, 16, 3, 3), {"dilations": [2, 2]}),
    "dilation 3 stride 2": (
        (1, 32, 20, 20),
        (32, 16, 3, 3),
        {"dilations": [3, 3], "strides": [2, 2]},
    ),
    "dilation 2 stride 4, groups": (
        (1, 32, 20, 20),
        (32, 4, 3, 3),
        {"dilations": [2, 2], "strides": [4, 4], "group": 4},
    ),
    "output padding": (
        (1, 32, 20, 20),
        (32, 16, 3, 3),
        {"strides": [2, 2], "output_padding": [1, 1]},
    ),
    "kernel below stride": ((1, 32, 20, 20), (32, 16, 2, 2), {"strides": [3, 3]}),
    "1-d stride 8": ((1, 64, 200), (64, 32, 16), {"strides": [8], "pads": [4, 4]}),
    "1-d depthwise": ((1, 64, 500), (64, 1, 4), {"strides": [2], "group": 64}),
    "3-d stride 2": ((1, 16, 8, 16, 16), (16, 16, 2, 2, 2), {"strides": [2] * 3}),
    "3-d grouped": ((1, 16, 8, 16, 16), (16, 4, 3, 3, 3), {"strides": [2] * 3, "group": 4}),
    "3-d depthwise": ((1, 16, 8, 16, 16), (16, 1, 4, 4, 4), {"strides": [2] * 3, "group": 16}),
    "31x31 stride 1": ((1, 4, 32, 32), (4, 4, 15, 15), {}),
}


def transposed(draw: Draw) -> Iterator[OperatorCase]:
    """ConvTranspose."""
    operator = "ConvTranspose"
    for label, (x, w, attributes) in _TRANSPOSED.items():
        data, weight = draw(x), draw(w)
        yield OperatorCase(
            f"{operator} {label}", operator, {"x": data}, {"w": weight}, (), attributes
        )
        if label in ("stride 2", "8 groups"):
            name = f"{operator} {label}, weights given"
            yield OperatorCase(name, operator, {"x": data, "w": weight}, attributes=attributes)


def pools(draw: Draw) -> Iterator[OperatorCase]:
    """Pools of all kinds, and LRN."""
    for operator in ("MaxPool", "AveragePool"):
        for label, shape, attributes in (
            ("2x2", (1, 64, 56, 56), {"kernel_shape": [2, 2], "strides": [2, 2]}),
            (
                "3x3 s2 ceil",
                (1, 64, 57, 57),
                {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
            ),
            ("3x3 s1", (1, 64, 56, 56), {"kernel_shape": [3, 3], "pads": [1] * 4}),
            ("13x13", (1, 32, 20, 20), {"kernel_shape": [13, 13], "pads": [6] * 4}),
            ("1-d 5", (1, 64, 1000), {"kernel_shape": [5], "strides": [2]}),
            ("3-d 3", (1, 16, 12, 24, 24), {"kernel_shape": [3] * 3, "strides": [2] * 3}),
            ("3x5 odd channels", (1, 37, 40, 40), {"kernel_shape": [3, 5], "pads": [1, 2, 1, 2]}),
        ):
            yield OperatorCase(
                f"{operator} {label}", operator, {"x": draw(shape)}, attributes=attributes
            )
    attributes = {"kernel_shape": [3, 3], "dilations": [2, 2]}
    yield OperatorCase(
        "MaxPool dilated", "MaxPool", {"x": draw((1, 64, 40, 40))}, attributes=attributes
    )
    attributes = {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1}
    data = draw((1, 64, 56, 56))
    yield OperatorCase(
        "AveragePool with padding", "AveragePool", {"x": data}, attributes=attributes
    )
    for dtype in ("int8", "uint8", "float64", "float16"):
        attributes = {"kernel_shape": [3, 3], "strides": [2, 2]}
        data = draw((1, 64, 56, 56), dtype)
        yield OperatorCase(f"MaxPool {dtype}", "MaxPool", {"x": data}, attributes=attributes)
    for operator in ("GlobalAveragePool", "GlobalMaxPool"):
        yield OperatorCase(operator, operator, {"x": draw((1, 256, 28, 28))})
    data = draw((1, 64, 28, 28))
    yield OperatorCase(
        "LpPool", "LpPool", {"x": data}, attributes={"kernel_shape": [3, 3], "strides": [2, 2]}
    )
    yield OperatorCase("GlobalLpPool", "GlobalLpPool", {"x": data})
    yield OperatorCase("LRN", "LRN", {"x": data}, attributes={"size": 5})
