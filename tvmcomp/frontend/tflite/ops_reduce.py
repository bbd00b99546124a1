"""Reductions along axes."""

from __future__ import annotations

import math

import numpy as np

from tvmcomp.frontend.tflite.call import Call, Converter
from tvmcomp.frontend.tflite.fixed_point import (
    give_steps,
    give_stored_steps,
    integers,
    is_byte,
    is_short,
    multiplied,
    out_scale,
    scale_of,
)


def l2_normalization(call: Call) -> None:
    """L2_NORMALIZATION over the last axis."""
    data = call.real(0)
    norm = call.node("ReduceL2", data, call.w.ints([-1]), keepdims=1)
    result = call.node("Div", data, call.node("Max", norm, call.number(1e-6)))
    fused = call.options("L2NormOptions").FusedActivationFunction()
    call.give(call.activated(result, fused))


def _reduce(kind: str) -> Converter:
    def convert(call: Call) -> None:
        keep = int(call.options("ReducerOptions").KeepDims())
        axes = call.ints(1)
        data, boolean = call.real(0), kind in ("Any", "All")
        if boolean:
            data = call.cast(data, "int32")
        operator = {"Any": "ReduceMax", "All": "ReduceMin"}.get(kind, f"Reduce{kind}")
        # An empty list of axes reduces none of them.
        result = call.node(operator, data, axes, keepdims=keep, noop_with_empty_axes=1)
        call.give(call.cast(result, "bool") if boolean else result)

    return convert


def _arg(kind: str) -> Converter:
    def convert(call: Call) -> None:
        axis = int(call.constant(1).reshape(-1)[0])
        result = call.node(kind, call.real(0), axis=axis, keepdims=0)
        call.give_stored(call.cast(result, call.out().dtype))

    return convert


def cumsum(call: Call) -> None:
    """CUMSUM."""
    options = call.options("CumsumOptions")
    axis = call.w.constant(np.int64(call.constant(1).reshape(-1)[0]))
    result = call.node(
        "CumSum",
        call.real(0),
        axis,
        exclusive=int(options.Exclusive()),
        reverse=int(options.Reverse()),
    )
    call.give(result)


def _wide_mean(call: Call) -> None:
    """MEAN of 16-bit numbers: the factor is divided by the count, and shifted by its power of 2."""
    shape, axes = call.static(0), call.constant(1).reshape(-1)
    count = math.prod(shape[int(axis)] for axis in axes)
    keep = int(call.options("ReducerOptions").KeepDims())
    data = integers(call, 0)
    sums = call.node("ReduceSum", data, call.ints(1), keepdims=keep, noop_with_empty_axes=1)
    factor = scale_of(call, 0) / out_scale(call)
    shift = int(math.log2(count)) - math.frexp(factor)[1]
    give_steps(call, multiplied(call, sums, factor / count, shift))


def mean(call: Call) -> None:
    """MEAN; of 8-bit numbers with the zero point added before it is rounded, halves to even."""
    if is_short(call.tensor(0)) and is_short(call.out()):
        _wide_mean(call)
        return
    if not is_byte(call.tensor(0)):
        _reduce("Mean")(call)
        return
    keep = int(call.options("ReducerOptions").KeepDims())
    result = call.node(
        "ReduceMean", integers(call, 0), call.ints(1), keepdims=keep, noop_with_empty_axes=1
    )
    ratio = call.w.constant(np.float32(scale_of(call, 0) / out_scale(call)))
    give_stored_steps(call, call.node("Mul", result, ratio))


#: Operator of the source -> converter.
REDUCE: dict[str, Converter] = {
    "ARG_MAX": _arg("ArgMax"),
    "ARG_MIN": _arg("ArgMin"),
    "CUMSUM": cumsum,
    "L2_NORMALIZATION": l2_normalization,
    "MEAN": mean,
    "REDUCE_ALL": _reduce("All"),
    "REDUCE_ANY": _reduce("Any"),
    "REDUCE_MAX": _reduce("Max"),
    "REDUCE_MIN": _reduce("Min"),
    "REDUCE_PROD": _reduce("Prod"),
    "SUM": _reduce("Sum"),
}
