"""``relax.vision.roi_align`` as ONNX Runtime computes it, where TVM's differs.

A region too small to hold a sample gives 0: TVM's kernel leaves such results as memory was. Of
``max``, a sample is not the interpolated value but the largest of the four pixels around it, each
times its weight in the interpolation, as in ONNX's reference.
"""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass
from typing import Any

from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Call, Expr, PrimExpr

te, tirx = tvm.te, tvm.tirx


def legalize_roi_align(builder: Builder, call: Call) -> Expr:
    """The legalization of ``relax.vision.roi_align``, for ``LegalizeOps``."""
    if str(call.attrs.layout) != "NCHW":
        return call.op.get_attr("FLegalize")(builder, call)
    return builder.call_te(_roi_align, *call.args, call.attrs, primfunc_name_hint="roi_align")


@dataclass(frozen=True)
class _Side:
    """One axis of a region's cells.

    Attributes:
        low, high: the region's ends, in pixels times ``1 / scale``.
        size: pixels of the image.
        cells: of the region.
        ratio: samples in a cell; 0 for one in each pixel, as far as that is a whole number.
        scale: of the region.
        aligned: regions may be smaller than a pixel.
    """

    low: PrimExpr
    high: PrimExpr
    size: int
    cells: int
    ratio: int
    scale: float
    aligned: bool

    @property
    def dtype(self) -> str:
        """Of coordinates."""
        return str(self.low.ty.dtype)

    def number(self, value: float) -> Any:
        """A constant coordinate."""
        return tirx.const(value, self.dtype)

    def cell(self) -> Any:
        """The length of a cell."""
        length = (self.high - self.low) * self.number(self.scale)
        if not self.aligned:
            length = te.max(length, self.number(1))
        return length / self.number(self.cells)

    def count(self) -> Any:
        """Samples in a cell; 0 or less where it holds none."""
        if self.ratio > 0:
            return tirx.const(self.ratio, "int32")
        return tirx.ceil(self.cell()).astype("int32")

    def loops(self) -> Any:
        """:meth:`count`, but at least 1: a reduction over nothing is never begun."""
        return te.max(self.count(), tirx.const(1, "int32"))

    def place(self, cell: PrimExpr, sample: PrimExpr) -> Any:
        """The coordinate of a sample of a cell."""
        first = self.low * self.number(self.scale) + cell.astype(self.dtype) * self.cell()
        share = (sample.astype(self.dtype) + self.number(0.5)) * self.cell()
        return first + share / self.loops().astype(self.dtype)

    def is_outside(self, place: PrimExpr) -> Any:
        """Whether a sample counts as 0."""
        return tirx.any(place < self.number(-1), place > self.number(self.size))

    def taps(self, place: PrimExpr) -> list[tuple[Any, Any]]:
        """The two pixels around ``place``, with their weights."""
        inside = te.min(te.max(place, self.number(0)), self.number(self.size - 1))
        first = tirx.floor(inside).astype("int32")
        share = inside - first.astype(self.dtype)
        second = te.min(first + 1, tirx.const(self.size - 1, "int32"))
        return [(first, self.number(1) - share), (second, share)]


def _roi_align(data: Any, regions: Any, attrs: Any) -> Any:
    """(regions, channels, rows, columns) of ``data`` (batch, channels, height, width)."""
    cells = [int(size) for size in attrs.pooled_size]
    takes_largest = str(attrs.mode) == "max"
    zero = tirx.const(0, data.dtype)

    def sides(r: PrimExpr) -> list[_Side]:
        how = (int(attrs.sample_ratio), float(attrs.spatial_scale), bool(attrs.aligned))
        return [
            _Side(regions(r, low), regions(r, low + 2), int(data.shape[axis]), count, *how)
            for low, axis, count in ((2, 2, cells[0]), (1, 3, cells[1]))
        ]

    def combined(r: PrimExpr, c: PrimExpr, row: PrimExpr, column: PrimExpr) -> Any:
        vertical, horizontal = sides(r)
        down = te.reduce_axis((0, vertical.loops()), "down")
        across = te.reduce_axis((0, horizontal.loops()), "across")
        y, x = vertical.place(row, down), horizontal.place(column, across)
        pixels = [
            weight_y * weight_x * data(regions(r, 0).astype("int32"), c, at_y, at_x)
            for at_y, weight_y in vertical.taps(y)
            for at_x, weight_x in horizontal.taps(x)
        ]
        outside = tirx.any(vertical.is_outside(y), horizontal.is_outside(x))
        value = functools.reduce(te.max if takes_largest else operator.add, pixels)
        reduction = te.max if takes_largest else te.sum
        return reduction(tirx.if_then_else(outside, zero, value), axis=[down, across])

    shape = (regions.shape[0], data.shape[1], *cells)
    combination = te.compute(shape, combined, name="samples")

    def result(*at: PrimExpr) -> Any:
        vertical, horizontal = sides(at[0])
        value = combination(*at)
        if not takes_largest:
            samples = vertical.loops() * horizontal.loops()
            value = value / samples.astype(str(data.dtype))
        is_empty = tirx.any(vertical.count() <= 0, horizontal.count() <= 0)
        return tirx.Select(is_empty, zero, value)

    return te.compute(shape, result, name="roi_align")
