"""What normalizations compute, in TE: as stages over shared rows, for the row kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvmcomp.schedules.tir.passing_nan import LOSES_NAN
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr

te = tvm.te
tirx = tvm.tirx


def softmax(data: Any, axis: int) -> Any:
    """Softmax of ``data`` along ``axis``: one division a row."""
    loses_nan = {LOSES_NAN: True}  # The sum of the powers has it.
    highest = _reduce(te.max, data, [axis], lambda *i: data[i], "highest", loses_nan)
    powers = te.compute(
        data.shape, lambda *i: te.exp(data[i] - highest[_kept(i, [axis])]), name="powers"
    )
    total = _reduce(te.sum, data, [axis], lambda *i: powers[i], "total")
    one = tirx.const(1, data.dtype)
    share = te.compute(total.shape, lambda *i: one / total[i], name="share")
    return te.compute(data.shape, lambda *i: powers[i] * share[_kept(i, [axis])], name="softmax")


def layer_norm(
    data: Any, gamma: Any | None, beta: Any | None, axes: Sequence[int], epsilon: float
) -> Any:
    """``data`` less its mean over ``axes``, divided by its standard deviation there.

    The variance is that of the differences from the mean: a difference of large sums would lose
    digits.

    Args:
        data: any shape.
        gamma: of the shape of ``axes``; multiplied last; None for ones.
        beta: of the shape of ``axes``; added last; None for zeros.
        axes: not negative, in order.
        epsilon: added to the variance.
    """
    axes = list(axes)
    share = tirx.const(1 / math.prod(int(data.shape[axis]) for axis in axes), data.dtype)
    total = _reduce(te.sum, data, axes, lambda *i: data[i], "total")
    mean = te.compute(total.shape, lambda *i: total[i] * share, name="mean")

    def square(*i: PrimExpr) -> Any:
        difference = data[i] - mean[_kept(i, axes)]
        return difference * difference

    squares = _reduce(te.sum, data, axes, square, "squares")
    small = tirx.const(epsilon, data.dtype)
    one = tirx.const(1, data.dtype)
    scale = te.compute(
        squares.shape, lambda *i: one / te.sqrt(squares[i] * share + small), name="scale"
    )

    def normalized(*i: PrimExpr) -> Any:
        row, within = _kept(i, axes), tuple(i[axis] for axis in axes)
        value = (data[i] - mean[row]) * scale[row]
        value = value * gamma[within] if gamma is not None else value
        return value + beta[within] if beta is not None else value

    return te.compute(data.shape, normalized, name="normalized")


def group_norm(data: Any, gamma: Any | None, beta: Any | None, groups: int, epsilon: float) -> Any:
    """Group normalization of ``data [N, *S, C]``.

    Sums are made by channel, in vectors, and then added up by group; the means go back to a value
    a channel, so that each stage over the image runs in vectors of channels.

    Args:
        data: channels last.
        gamma: ``[C]``, or None for ones.
        beta: ``[C]``, or None for zeros.
        groups: they divide C.
        epsilon: added to the variance.
    """
    batch, *spatial, channels = (int(size) for size in data.shape)
    axes = list(range(1, len(spatial) + 1))
    size = channels // groups
    share = tirx.const(1 / (math.prod(spatial) * size), data.dtype)

    def group_mean(by_channel: Any, name: str) -> Any:
        within = te.reduce_axis((0, size), name="within")
        total = te.compute(
            (batch, groups),
            lambda n, g: te.sum(by_channel[n, g * size + within], axis=[within]),
            name=f"group_{name}",
        )
        return te.compute(
            (batch, channels), lambda n, c: total[n, tirx.floordiv(c, size)] * share, name=name
        )

    mean = group_mean(_reduce(te.sum, data, axes, lambda *i: data[i], "total"), "mean")

    def square(*i: PrimExpr) -> Any:
        difference = data[i] - mean[i[0], i[-1]]
        return difference * difference

    variance = group_mean(_reduce(te.sum, data, axes, square, "squares"), "variance")
    small, one = tirx.const(epsilon, data.dtype), tirx.const(1, data.dtype)
    scale = te.compute(
        (batch, channels), lambda n, c: one / te.sqrt(variance[n, c] + small), name="scale"
    )

    def normalized(*i: PrimExpr) -> Any:
        value = (data[i] - mean[i[0], i[-1]]) * scale[i[0], i[-1]]
        value = value * gamma[i[-1]] if gamma is not None else value
        return value + beta[i[-1]] if beta is not None else value

    return te.compute(data.shape, normalized, name="normalized")


def arg_extreme(data: Any, axis: int, keepdims: bool, largest: bool) -> Any:
    """The first index along ``axis`` of the largest or least element, or of NaN: int64.

    Found as the extreme, then the least index that holds it: both are vector reductions, which a
    reduction of pairs is not.
    """
    extreme = _reduce(te.max if largest else te.min, data, [axis], lambda *i: data[i], "extreme")
    last = tirx.const(int(data.shape[axis]) - 1, "int32")

    def candidate(*i: PrimExpr) -> Any:
        found = data[i].equal(extreme[_kept(i, [axis])])
        if str(data.dtype).startswith("float"):
            found = tirx.Or(found, tirx.isnan(data[i]))  # Then the extreme is NaN too.
        return tirx.Select(found, i[axis].astype("int32"), last)

    first = _reduce(te.min, data, [axis], candidate, "first")
    shape = [size if d != axis else 1 for d, size in enumerate(data.shape)]
    if not keepdims:
        return te.compute(first.shape, lambda *i: first[i].astype("int64"), name="index")
    return te.compute(shape, lambda *i: first[_kept(i, [axis])].astype("int64"), name="index")


def _kept(index: Sequence[PrimExpr], axes: Sequence[int]) -> tuple[Any, ...]:
    """``index`` without ``axes``; a scalar has one element."""
    return tuple(i for d, i in enumerate(index) if d not in axes)


def _reduce(
    operation: Any,
    data: Any,
    axes: Sequence[int],
    value: PrimExpr,
    name: str,
    attrs: dict[str, Any] | None = None,
) -> Any:
    """``operation`` over ``axes`` of ``value``, which is indexed like ``data``."""
    reduced = [te.reduce_axis((0, data.shape[axis]), name=f"r{axis}") for axis in axes]
    shape = [size for d, size in enumerate(data.shape) if d not in axes]

    def at(*kept: Any) -> Any:
        outer, inner = iter(kept), iter(reduced)
        index = [next(inner) if d in axes else next(outer) for d in range(len(data.shape))]
        return operation(value(*index), axis=reduced)

    return te.compute(shape, at, name=name, attrs=attrs)
