"""Reductions, normalizations, running sums and sorting: what works row by row."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.peers.operators.case import Draw, OperatorCase


def reductions(draw: Draw) -> Iterator[OperatorCase]:
    """Reductions over any axes, and the arguments of extremes."""
    shape = (16, 40, 25, 30)
    names = ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")
    for axes in ([0], [1], [2], [3], [0, 1], [1, 3], [0, 2], [2, 3], [0, 1, 2, 3], [0, 3]):
        for name in names if axes in ([1], [3]) else ("Sum", "Max"):
            operator = f"Reduce{name}"
            data = np.abs(draw(shape)) + 0.5 if name == "LogSum" else draw(shape)
            attributes = {"axes": axes, "keepdims": 0}
            yield OperatorCase(
                f"{operator} {axes}", operator, {"x": data}, attributes=attributes, opset=12
            )
    for dtype in ("int32", "int64", "float64"):
        for axes in ([1], [3]):
            attributes = {"axes": axes}
            name = f"ReduceSum {dtype} {axes}"
            yield OperatorCase(
                name, "ReduceSum", {"x": draw(shape, dtype)}, attributes=attributes, opset=12
            )
    for axis in (0, 1, 3):
        for operator in ("ArgMax", "ArgMin"):
            attributes = {"axis": axis}
            yield OperatorCase(
                f"{operator} {axis}", operator, {"x": draw(shape)}, attributes=attributes
            )
    attributes = {"axis": 1, "select_last_index": 1}
    yield OperatorCase("ArgMax last", "ArgMax", {"x": draw(shape)}, attributes=attributes)
    yield OperatorCase(
        "ArgMax int32", "ArgMax", {"x": draw(shape, "int32")}, attributes={"axis": 1}
    )


def normalizations(draw: Draw) -> Iterator[OperatorCase]:
    """Softmax and the normalizations."""
    for operator in ("Softmax", "LogSoftmax", "Hardmax"):
        for axis in (0, 1, 2):
            name = f"{operator} {axis}"
            yield OperatorCase(name, operator, {"x": draw((60, 70, 50))}, attributes={"axis": axis})
    yield OperatorCase("Softmax float64", "Softmax", {"x": draw((100, 500), "float64")})
    yield OperatorCase("Softmax of few", "Softmax", {"x": draw((5000, 7))})
    for axis in (-1, -2):
        shape = (20, 49, 96)
        factors = {"s": draw(shape[axis:]), "b": draw(shape[axis:])}
        name = f"LayerNormalization {axis}"
        yield OperatorCase(
            name, "LayerNormalization", {"x": draw(shape)}, factors, (), {"axis": axis}
        )
    for label, shape in (
        ("2-d", (1, 64, 40, 40)),
        ("1-d", (1, 64, 1000)),
        ("3-d", (1, 16, 10, 20, 20)),
    ):
        factors = {"s": draw((shape[1],)), "b": draw((shape[1],))}
        name = f"InstanceNormalization {label}"
        yield OperatorCase(name, "InstanceNormalization", {"x": draw(shape)}, factors)
    factors = {"s": draw((64,)), "b": draw((64,))}
    yield OperatorCase(
        "GroupNormalization",
        "GroupNormalization",
        {"x": draw((1, 64, 40, 40))},
        factors,
        (),
        {"num_groups": 8},
        opset=21,
    )
    for axis in (0, 1, -1):
        yield OperatorCase(
            f"LpNormalization {axis}",
            "LpNormalization",
            {"x": draw((64, 50, 60))},
            attributes={"axis": axis},
        )
    factors = {"s": draw((64,)), "b": draw((64,)), "m": draw((64,)), "v": np.abs(draw((64,))) + 1}
    yield OperatorCase(
        "BatchNormalization", "BatchNormalization", {"x": draw((1, 64, 56, 56))}, factors
    )
    yield OperatorCase(
        "MeanVarianceNormalization", "MeanVarianceNormalization", {"x": draw((1, 64, 40, 40))}
    )


def scans(draw: Draw) -> Iterator[OperatorCase]:
    """CumSum and TopK."""
    for dtype in ("float32", "int64"):
        for axis in (0, 1, 2):
            constants = {"axis": np.array(axis)}
            name = f"CumSum {dtype} {axis}"
            yield OperatorCase(name, "CumSum", {"x": draw((60, 70, 50), dtype)}, constants)
    for k, shape, axis in ((5, (100, 1000), 1), (100, (10, 5000), 1), (3, (50, 20, 60), 1)):
        name = f"TopK {k} of {shape[axis]}"
        constants = {"k": np.array([k])}
        yield OperatorCase(
            name, "TopK", {"x": draw(shape)}, constants, (), {"axis": axis}, outputs=2
        )
