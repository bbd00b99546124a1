"""The forms of convolutions and products whose weight comes at run time: packed by a kernel.

Packing reads and writes the weight once, which is little next to the product with it; where it is
not (a single row), the product is left to the default schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from tvmcomp.schedules.anchor import Anchor, Widths, Window, element
from tvmcomp.schedules.conv.depthwise_conv import (
    depthwise_conv,
    depthwise_lanes,
    depthwise_padding,
)
from tvmcomp.schedules.conv.direct_conv import conv_padding, direct_conv
from tvmcomp.schedules.dot import DotKernel
from tvmcomp.schedules.matmul.packed_matmul import PackedProduct, pack_right, packed_matmul
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr

te = tvm.te
tirx = tvm.tirx

#: The window of a matrix product.
_SINGLE = Window((1,), (1,), (1,), ((0, 0),))
#: Fewer rows than this are multiplied where the right side lies: packing it would take longer.
_FEWEST_ROWS = 4


@dataclass(frozen=True)
class GivenForm:
    """How to compute with a weight that is not known at build time.

    Attributes:
        widths: the border that the kernel needs around the data.
        pack: emits the packing of the weight: (builder, weight, name) -> expression.
        emit: emits the kernel: (builder, padded data, packed weight, name) -> expression.
    """

    widths: Widths
    pack: Callable[[Any, Any, str], Any]
    emit: Callable[[Any, Any, Any, str], Any]


def given_matrix(
    shape: tuple[int, ...], weight: tuple[int, ...], kernel: DotKernel, target: TargetDescription
) -> GivenForm | None:
    """The form of a product of ``shape [*, rows, depth]`` and ``weight [*, depth, columns]``.

    Returns:
        None where the operands are better read where they lie: those of more than 8 bits, which
        :mod:`tvmcomp.passes.lowering.lower_matmul` takes, and few rows.
    """
    if kernel.weight != "int8":
        return None
    product = PackedProduct(shape[:-2], weight[:-2], shape[-2], weight[-1], shape[-1])
    repeats = prod(product.batch) // max(1, prod(product.right_batch))
    if product.rows * repeats < _FEWEST_ROWS:
        return None
    return GivenForm(
        conv_padding(Anchor(shape, _SINGLE, product.columns), kernel, target),
        _te(lambda w: pack_right(w, kernel)),
        _te(lambda x, w: packed_matmul(x, w, product, kernel)),
    )


def given_convolution(anchor: Anchor, kernel: DotKernel, target: TargetDescription) -> GivenForm:
    """The form of the convolution ``anchor``."""
    if anchor.depthwise:
        lanes = depthwise_lanes(anchor.channels, target)
        return GivenForm(
            depthwise_padding(anchor, lanes),
            _te(lambda w: _pack_depthwise(w, lanes)),
            _te(lambda x, w: depthwise_conv(x, w, anchor, kernel)),
        )
    return GivenForm(
        conv_padding(anchor, kernel, target),
        _te(lambda w: _pack_conv(w, anchor.window.groups, kernel)),
        _te(lambda x, w: direct_conv(x, w, anchor, kernel, target)),
    )


def _pack_depthwise(weight: Expr, lanes: int) -> Any:
    """As :func:`tvmcomp.schedules.conv.depthwise_conv.pack_depthwise_weight`, at run time."""
    channels, *window, _ = (int(size) for size in weight.shape)
    packed = -(-channels // lanes) * lanes

    def at(*i: Any) -> Any:
        value = element(weight, i[-1], *i[:-1], 0)
        if packed == channels:
            return value
        return tirx.if_then_else(i[-1] < channels, value, tirx.const(0, weight.dtype))

    return te.compute((*window, packed), at, "packed")


def _pack_conv(weight: Expr, groups: int, kernel: DotKernel) -> Any:
    """As :func:`tvmcomp.schedules.conv.direct_conv.pack_conv_weight`, at run time."""
    out_channels, *window, in_channels = (int(size) for size in weight.shape)
    per_group = out_channels // groups
    outer, inner = kernel.vectors(per_group), -(-in_channels // kernel.depth)

    def at(*i: Any) -> Any:
        group, block, *taps, chunk, lane, step = i
        o, c = block * kernel.lanes + lane, chunk * kernel.depth + step
        inside = []
        if per_group != outer * kernel.lanes:
            inside.append(o < per_group)
        if in_channels % kernel.depth:
            inside.append(c < in_channels)
        value = element(weight, group * per_group + o, *taps, c)
        if not inside:
            return value
        return tirx.if_then_else(tirx.all(*inside), value, tirx.const(0, weight.dtype))

    return te.compute((groups, outer, *window, inner, kernel.lanes, kernel.depth), at, "packed")


def _te(compute: Callable[..., Any]) -> Callable[..., Any]:
    """Emits a kernel that TE describes."""

    def emit(builder: Builder, *arguments: Any) -> Expr:
        *tensors, name = arguments
        return builder.call_te(compute, *tensors, primfunc_name_hint=name)

    return emit
