"""The forms in which an anchor can be computed, and which of them a target is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tvmcomp.passes.lowering.form import Emit, Form
from tvmcomp.schedules.amx.choose import plan_amx
from tvmcomp.schedules.amx.conv import amx_conv
from tvmcomp.schedules.amx.pack import pack_amx_weight
from tvmcomp.schedules.anchor import Anchor
from tvmcomp.schedules.conv.depthwise_conv import (
    depthwise_conv,
    depthwise_lanes,
    depthwise_padding,
    pack_depthwise_weight,
)
from tvmcomp.schedules.conv.depthwise_dot import (
    depthwise_dot_conv,
    dot_lanes,
    pack_depthwise_dot_weight,
)
from tvmcomp.schedules.conv.direct_conv import conv_padding, direct_conv, pack_conv_weight
from tvmcomp.schedules.conv.winograd import (
    pack_winograd_weight,
    winograd_conv,
    winograd_padding,
    winograd_tile,
)
from tvmcomp.schedules.dot import DotKernel
from tvmcomp.schedules.op_pattern import OpPattern
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr

relax = tvm.relax


def choose_form(
    anchor: Anchor,
    weight: np.ndarray,
    kernel: DotKernel,
    target: TargetDescription,
    *,
    winograd: bool,
) -> Form:
    """The fastest form of ``anchor`` on ``target``, by each form's model of the device.

    Args:
        anchor: what to compute.
        weight: ``[O, *kernel, C/groups]``.
        kernel: the dot product for its types.
        target: the device.
        winograd: allow a form whose weights are transformed, and not only packed.
    """
    if anchor.depthwise:
        return _depthwise_dot(anchor, weight, kernel, target) or _depthwise(
            anchor, weight, kernel, target
        )
    return (
        (_winograd(anchor, weight, kernel, target) if winograd else None)
        or _amx(anchor, weight, kernel, target)
        or _direct(anchor, weight, kernel, target)
    )


def pack_untransformed(
    anchor: Anchor, weight: np.ndarray, kernel: DotKernel, target: TargetDescription
) -> np.ndarray:
    """``weight`` in the order of the forms that need nothing but packing."""
    if anchor.depthwise:
        return pack_depthwise_weight(weight, depthwise_lanes(anchor.channels, target))
    return pack_conv_weight(weight, anchor.window.groups, kernel)


def _direct(
    anchor: Anchor, weight: np.ndarray, kernel: DotKernel, target: TargetDescription
) -> Form:
    return Form(
        conv_padding(anchor, kernel, target),
        pack_untransformed(anchor, weight, kernel, target),
        _te(lambda x, w: direct_conv(x, w, anchor, kernel, target)),
    )


def _winograd(
    anchor: Anchor, weight: np.ndarray, kernel: DotKernel, target: TargetDescription
) -> Form | None:
    tile = winograd_tile(anchor, kernel, target)
    if tile is None:
        return None
    return Form(
        winograd_padding(tile, anchor, target),
        pack_winograd_weight(tile, weight, target),
        _te(
            lambda x, w: winograd_conv(tile, x, w, anchor, target),
            op_pattern=int(OpPattern.OUT_FUSABLE),
        ),
    )


def _depthwise(
    anchor: Anchor, weight: np.ndarray, kernel: DotKernel, target: TargetDescription
) -> Form:
    return Form(
        depthwise_padding(anchor, depthwise_lanes(anchor.channels, target)),
        pack_untransformed(anchor, weight, kernel, target),
        _te(lambda x, w: depthwise_conv(x, w, anchor, kernel)),
        free_behind=True,
    )


def _depthwise_dot(
    anchor: Anchor, weight: np.ndarray, kernel: DotKernel, target: TargetDescription
) -> Form | None:
    lanes = dot_lanes(anchor, kernel.data, target)
    if lanes is None:
        return None
    return Form(
        depthwise_padding(anchor, lanes),
        pack_depthwise_dot_weight(weight, lanes, target),
        _te(lambda x, w: depthwise_dot_conv(x, w, anchor, lanes)),
        free_behind=True,
    )


def _amx(
    anchor: Anchor, weight: np.ndarray, kernel: DotKernel, target: TargetDescription
) -> Form | None:
    plan = plan_amx(anchor, kernel, target)
    if plan is None:
        return None

    def emit(builder: Builder, data: Expr, packed: Any, name: str) -> Expr:
        shape = (*anchor.lead, *anchor.output, anchor.out_channels)
        function = builder.add_func(amx_conv(plan), name)
        return relax.call_tir(function, [data, packed], relax.TensorType(shape, kernel.acc))

    return Form(plan.widths, pack_amx_weight(weight, plan), emit)


def _te(compute: Callable[[Any, Any], Any], **attrs: Any) -> Emit:
    """Emits a kernel that TE describes; ``attrs`` are its PrimFunc's."""

    def emit(builder: Builder, data: Expr, weight: Expr, name: str) -> Expr:
        return builder.call_te(
            compute, data, weight, primfunc_name_hint=name, primfunc_attrs=attrs or None
        )

    return emit
