"""GridSample of images: the pixels around each place are looked up as rows of all channels.

ONNX's definition, https://onnx.ai/onnx/operators/onnx__GridSample.html. The places and the weights
of the pixels are computed once a pixel and not once a channel, and the channels of a pixel lie side
by side: a look-up is whole vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tvmcomp.frontend.onnx.values import dtype_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr

relax = tvm.relax

#: The cubic's coefficient, which the standard fixes.
_CUBIC = -0.75


@dataclass(frozen=True)
class Tap:
    """One of the places along an axis that a sample is made of.

    Attributes:
        at: its whole number as a float; may lie outside.
        weight: what its value is multiplied by; None for 1.
    """

    at: Expr
    weight: Expr | None


@dataclass(frozen=True)
class _Axis:
    """One axis of the image: how coordinates outside of it are taken.

    Attributes:
        bb: where the expressions go.
        size: pixels.
        padding: ``zeros``, ``border`` or ``reflection``.
        align_corners: -1 and 1 are the middles of the outermost pixels, and not their edges.
        dtype: of coordinates.
    """

    bb: Builder
    size: int
    padding: str
    align_corners: bool
    dtype: str

    def number(self, value: float) -> Expr:
        return relax.const(value, self.dtype)

    def place(self, grid: Expr) -> Expr:
        """Pixels, from a coordinate between -1 and 1; rounded as ONNX Runtime's."""
        from_end = self.bb.emit(grid + self.number(1))
        if self.align_corners:
            return self.bb.emit(from_end * self.number(0.5) * self.number(self.size - 1))
        return self.bb.emit((from_end * self.number(self.size) - self.number(1)) * self.number(0.5))

    def within(self, place: Expr) -> Expr:
        """A coordinate whose pixels are asked for, by the padding."""
        if self.padding == "border":
            return self.clip(place)
        return self.reflect(place) if self.padding == "reflection" else place

    def clip(self, place: Expr) -> Expr:
        low = relax.op.maximum(place, self.number(0))
        return self.bb.emit(relax.op.minimum(low, self.number(self.size - 1)))

    def reflect(self, place: Expr) -> Expr:
        """Mirrored at the image's ends, as often as it takes."""
        low = 0.0 if self.align_corners else -0.5
        length = self.size - 1 if self.align_corners else self.size
        if length == 0:
            return relax.op.zeros_like(place)
        away = self.bb.emit(relax.op.abs(place - self.number(low)))
        turns = self.bb.emit(relax.op.floor(away / self.number(length)))
        rest = self.bb.emit(away - turns * self.number(length))
        half = self.bb.emit(relax.op.floor(turns / self.number(2)) * self.number(2))
        odd = relax.op.equal(half, turns)
        back = self.number(low + length) - rest
        return self.bb.emit(relax.op.where(odd, rest + self.number(low), back))

    def index(self, at: Expr) -> tuple[Expr, Expr | None]:
        """The pixel to read for a tap, as a float, and 1 where the tap counts, else 0.

        A number: TVM's code for vectors of booleans, of which some were stored, is not valid.
        """
        if self.padding == "zeros":
            inside = self.clip(at)
            counts = relax.op.astype(relax.op.equal(inside, at), self.dtype)
            return inside, self.bb.emit(counts)
        return self.clip(self.reflect(at) if self.padding == "reflection" else at), None


def sample_image(
    bb: Builder, data: Expr, grid: Expr, method: str, padding: str, align_corners: bool
) -> Expr:
    """``data`` at the places of ``grid``.

    Args:
        bb: where the expressions go.
        data: (batch, channels, height, width), float32 or float64.
        grid: (batch, rows, columns, 2): x and y between -1 and 1, of the same type.
        method: ``nearest``, ``bilinear`` or ``bicubic``.
        padding: ``zeros``, ``border`` or ``reflection``.
        align_corners: whether -1 and 1 are the middles of the outermost pixels.

    Returns:
        (batch, channels, rows, columns).
    """
    batch, channels, height, width = shape_of(data)
    _, rows, columns, _ = shape_of(grid)
    dtype = dtype_of(grid)
    count = batch * rows * columns
    flat = bb.emit(relax.op.reshape(grid, (count, 2)))
    taps = []
    axes = [_Axis(bb, size, padding, align_corners, dtype) for size in (width, height)]
    for number, axis in enumerate(axes):
        place = axis.place(relax.op.strided_slice(flat, [1], [number], [number + 1]))
        taps.append(_taps(axis, place, method))
    pixels = bb.emit(relax.op.permute_dims(data, [0, 2, 3, 1]))
    pixels = bb.emit(relax.op.reshape(pixels, (batch * height * width, channels)))
    # The first pixel of each sample's own image.
    image = np.repeat(np.arange(batch) * height * width, rows * columns).astype("int32")
    total = None
    for y in taps[1]:
        row, row_counts = axes[1].index(y.at)
        for x in taps[0]:
            column, column_counts = axes[0].index(x.at)
            number = bb.emit(
                relax.op.astype(row, "int32") * relax.const(width, "int32")
                + relax.op.astype(column, "int32")
            )
            number = bb.emit(relax.op.reshape(number, (count,)))
            if batch > 1:
                number = bb.emit(number + relax.const(image))
            value = bb.emit(relax.op.take(pixels, number, axis=0, mode="clip"))
            value = _weighted(bb, value, [y.weight, x.weight], [row_counts, column_counts])
            total = value if total is None else bb.emit(total + value)
    result = bb.emit(relax.op.reshape(total, (batch, rows, columns, channels)))
    return relax.op.permute_dims(result, [0, 3, 1, 2])


def _weighted(
    bb: Builder, value: Expr, weights: Sequence[Expr | None], counts: Sequence[Expr | None]
) -> Expr:
    factors = [weight for weight in weights if weight is not None]
    if factors:
        weight = bb.emit(factors[0] * factors[1])
        value = bb.emit(value * weight)
    present = [count for count in counts if count is not None]
    if present:  # not by a weight of 0: what is outside is not read, and may be infinite
        zero = relax.const(0, dtype_of(value))
        both = bb.emit(present[0] * present[1])
        inside = bb.emit(relax.op.greater(both, relax.const(0, dtype_of(both))))
        value = bb.emit(relax.op.where(inside, value, zero))
    return value


def _taps(axis: _Axis, place: Expr, method: str) -> list[Tap]:
    """The pixels along ``axis`` that a sample at ``place`` is made of."""
    bb = axis.bb
    if method == "nearest":
        return [Tap(axis.within(bb.emit(relax.op.round(place))), None)]
    if method == "bilinear":
        place = axis.within(place)
        first = bb.emit(relax.op.floor(place))
        share = bb.emit(place - first)
        second = bb.emit(first + axis.number(1))
        return [Tap(first, bb.emit(axis.number(1) - share)), Tap(second, share)]
    first = bb.emit(relax.op.floor(place))
    share = bb.emit(place - first)
    weights = [
        _outer_cubic(axis, bb.emit(share + axis.number(1))),
        _inner_cubic(axis, share),
        _inner_cubic(axis, bb.emit(axis.number(1) - share)),
        _outer_cubic(axis, bb.emit(axis.number(2) - share)),
    ]
    places = [bb.emit(first + axis.number(n)) for n in (-1, 0, 1, 2)]
    return [Tap(at, weight) for at, weight in zip(places, weights, strict=True)]


def _inner_cubic(axis: _Axis, t: Expr) -> Expr:
    """Keys's cubic convolution within a pixel's distance."""
    number = axis.number
    return axis.bb.emit((number(_CUBIC + 2) * t - number(_CUBIC + 3)) * t * t + number(1))


def _outer_cubic(axis: _Axis, t: Expr) -> Expr:
    """Keys's cubic convolution beyond a pixel's distance."""
    number = axis.number
    inner = (number(_CUBIC) * t - number(5 * _CUBIC)) * t + number(8 * _CUBIC)
    return axis.bb.emit(inner * t - number(4 * _CUBIC))
