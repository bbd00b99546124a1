"""The forms in which an anchor can be computed, and which of them a target is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tvmcomp.schedules.amx.choose import plan_amx
from tvmcomp.schedules.amx.conv import amx_conv
from tvmcomp.schedules.amx.pack import pack_amx_weight
from tvmcomp.schedules.conv.compute import (
    Widths,
    Window,
    conv_padding,
    depthwise_conv,
    depthwise_padding,
    direct_conv,
    pack_conv_weight,
    pack_depthwise_weight,
)
from tvmcomp.schedules.conv.depthwise_dot import (
    depthwise_dot_conv,
    dot_lanes,
    pack_depthwise_dot_weight,
)
from tvmcomp.schedules.conv.winograd import (
    pack_winograd_weight,
    winograd_conv,
    winograd_padding,
    winograd_tile,
)
from tvmcomp.schedules.dot import DotKernel
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

relax = tvm.relax
_OUT_FUSABLE = 4  # TVM's OpPatternKind::kOutEWiseFusable: element-wise operators fuse behind it

#: Emits the call of a form's kernel: (builder, padded data, packed weight, name) -> expression.
Emit = Callable[[Any, Any, Any, str], Any]


@dataclass(frozen=True)
class Anchor:
    """A convolution; a matrix product is one of windows of one.

    Attributes:
        shape: of the data, ``[*lead, *S, C]``.
        window: the geometry.
        weight: ``[O, *kernel, C/groups]``.
    """

    shape: tuple[int, ...]
    window: Window
    weight: np.ndarray

    @property
    def out_channels(self) -> int:
        """O."""
        return self.weight.shape[0]

    @property
    def depthwise(self) -> bool:
        """Whether each channel is convolved by itself."""
        return self.window.groups == self.shape[-1] == self.out_channels > 1


@dataclass(frozen=True)
class Form:
    """A way to compute an anchor.

    Attributes:
        widths: the border that it needs around the data.
        weight: packed in the order that its kernel reads.
        emit: emits the call of its kernel.
    """

    widths: Widths
    weight: np.ndarray
    emit: Emit


def choose_form(
    anchor: Anchor, kernel: DotKernel, target: TargetDescription, *, winograd: bool
) -> Form:
    """The fastest form of ``anchor`` on ``target``, by each form's model of the device.

    Args:
        anchor: what to compute.
        kernel: the dot product for its types.
        target: the device.
        winograd: allow a form whose weights are transformed, and not only packed.
    """
    if anchor.depthwise:
        return _depthwise_dot(anchor, kernel, target) or _depthwise(anchor, kernel)
    return (
        (_winograd(anchor, kernel, target) if winograd else None)
        or _amx(anchor, kernel, target)
        or _direct(anchor, kernel, target)
    )


def pack_untransformed(anchor: Anchor, kernel: DotKernel) -> np.ndarray:
    """The weight of ``anchor`` in the order of the forms that need nothing but packing."""
    if anchor.depthwise:
        return pack_depthwise_weight(anchor.weight)
    return pack_conv_weight(anchor.weight, anchor.window.groups, kernel)


def _direct(anchor: Anchor, kernel: DotKernel, target: TargetDescription) -> Form:
    geometry = (anchor.shape, anchor.window, anchor.out_channels, kernel, target)
    return Form(
        conv_padding(*geometry),
        pack_untransformed(anchor, kernel),
        _te(lambda x, w: direct_conv(x, w, *geometry)),
    )


def _winograd(anchor: Anchor, kernel: DotKernel, target: TargetDescription) -> Form | None:
    geometry = (anchor.shape, anchor.window, anchor.out_channels)
    tile = winograd_tile(*geometry, kernel, target)
    if tile is None:
        return None
    return Form(
        winograd_padding(tile, *geometry, target),
        pack_winograd_weight(tile, anchor.weight, target),
        _te(lambda x, w: winograd_conv(tile, x, w, *geometry, target), op_pattern=_OUT_FUSABLE),
    )


def _depthwise(anchor: Anchor, kernel: DotKernel) -> Form:
    return Form(
        depthwise_padding(anchor.shape, anchor.window),
        pack_untransformed(anchor, kernel),
        _te(lambda x, w: depthwise_conv(x, w, anchor.shape, anchor.window, kernel)),
    )


def _depthwise_dot(anchor: Anchor, kernel: DotKernel, target: TargetDescription) -> Form | None:
    lanes = dot_lanes(anchor.shape, anchor.window, kernel.data, target)
    if lanes is None:
        return None
    return Form(
        depthwise_padding(anchor.shape, anchor.window),
        pack_depthwise_dot_weight(anchor.weight, lanes),
        _te(lambda x, w: depthwise_dot_conv(x, w, anchor.shape, anchor.window, lanes)),
    )


def _amx(anchor: Anchor, kernel: DotKernel, target: TargetDescription) -> Form | None:
    tiles = plan_amx(anchor.shape, anchor.out_channels, anchor.window, kernel, target)
    if tiles is None:
        return None

    def emit(builder: Any, data: Any, weight: Any, name: str) -> Any:
        shape = (*tiles.lead, *tiles.output, anchor.out_channels)
        function = builder.add_func(amx_conv(tiles), name)
        return relax.call_tir(function, [data, weight], relax.TensorType(shape, kernel.acc))

    return Form(tiles.widths, pack_amx_weight(anchor.weight, tiles), emit)


def _te(compute: Callable[[Any, Any], Any], **attrs: Any) -> Emit:
    """Emits a kernel that TE describes; ``attrs`` are its PrimFunc's."""

    def emit(builder: Any, data: Any, weight: Any, name: str) -> Any:
        return builder.call_te(
            compute, data, weight, primfunc_name_hint=name, primfunc_attrs=attrs or None
        )

    return emit
