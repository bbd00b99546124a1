"""Schedules: how an operator runs well on an instruction set.

``apply_schedule`` is the one entry: it finds the anchor of a fused PrimFunc and applies the
anchor's schedule, or the default one. With the analytic ``decide`` it needs no tuning; with a
sampling one the same code is MetaSchedule's design space.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvmcomp.schedules.amx.conv_schedule import schedule_amx_conv
from tvmcomp.schedules.amx.plan import AMX_CONV
from tvmcomp.schedules.anchor import ANCHOR
from tvmcomp.schedules.bfloat16 import inline_widening
from tvmcomp.schedules.blocking import Decide, analytic
from tvmcomp.schedules.conv.depthwise_conv import DEPTHWISE_CONV
from tvmcomp.schedules.conv.depthwise_conv_schedule import schedule_depthwise_conv
from tvmcomp.schedules.conv.depthwise_dot import DEPTHWISE_DOT
from tvmcomp.schedules.conv.depthwise_dot_schedule import schedule_depthwise_dot
from tvmcomp.schedules.conv.direct_conv import DIRECT_CONV, PIXEL_PAIRS, STAGED_CONV
from tvmcomp.schedules.conv.direct_conv_schedule import schedule_direct_conv
from tvmcomp.schedules.conv.pixel_pairs_schedule import schedule_pixel_pairs
from tvmcomp.schedules.conv.staged_conv_schedule import schedule_staged_conv
from tvmcomp.schedules.conv.winograd import WINOGRAD
from tvmcomp.schedules.conv.winograd_schedule import schedule_winograd_conv
from tvmcomp.schedules.dot import DotKernel, dot_kernel
from tvmcomp.schedules.matmul.attention import ATTENTION
from tvmcomp.schedules.matmul.attention_schedule import schedule_attention
from tvmcomp.schedules.matmul.batched_matmul import BATCHED_MATMUL
from tvmcomp.schedules.matmul.batched_matmul_schedule import schedule_batched_matmul
from tvmcomp.schedules.matmul.bfloat16_attention import BFLOAT16_ATTENTION
from tvmcomp.schedules.matmul.bfloat16_attention_schedule import schedule_bfloat16_attention
from tvmcomp.schedules.rows.default import schedule_default
from tvmcomp.schedules.sparse.conv_schedule import schedule_sparse_conv
from tvmcomp.schedules.sparse.plan import SPARSE_CONV
from tvmcomp.schedules.tir import host_passes
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_types import Block, Schedule

__all__ = ["Decide", "analytic", "apply_schedule", "design_space", "find_anchor"]

host_passes.register()


def find_anchor(sch: Schedule) -> Any | None:
    """The block of ``sch`` that carries the anchor attribute, or None."""
    for block in sch.get_child_blocks(sch.get_sblock("root")):
        if ANCHOR in sch.get(block).annotations:
            return block
    return None


def apply_schedule(sch: Schedule, target: TargetDescription, decide: Decide = analytic) -> None:
    """Schedule the PrimFunc in ``sch`` for ``target``.

    Args:
        sch: a ``tvm.s_tir.Schedule`` of one fused PrimFunc, unscheduled.
        target: a CPU target.
        decide: answers the schedule's choices.
    """
    anchor = find_anchor(sch)
    if anchor is None:
        schedule_default(sch, target)
        return
    inline_widening(sch)
    _SCHEDULES[str(sch.get(anchor).annotations[ANCHOR])](sch, anchor, target, decide)


def design_space(target: TargetDescription) -> Callable[[Any, Decide], str]:
    """The tuner's space for ``target``: the anchors' schedules, with their choices open.

    Returns:
        A function that schedules what it is given, its choices answered by a :class:`Decide`, and
        returns the space's name, or "" where there is no schedule of ours.
    """

    def space(sch: Schedule, decide: Decide) -> str:
        anchor = find_anchor(sch)
        if anchor is None:
            return ""
        name = str(sch.get(anchor).annotations[ANCHOR])
        apply_schedule(sch, target, decide)
        return name

    return space


def _kernel(sch: Schedule, anchor: Block, target: TargetDescription) -> DotKernel:
    """The dot product that the anchor's packed weights were made for."""
    data, weight = (str(read.source.dtype) for read in sch.get(anchor).reads[-2:])
    kind = sch.get(anchor).annotations[ANCHOR]
    if kind == STAGED_CONV:
        data = target.activation_dtype  # What it was before it was widened.
    kernel = dot_kernel(data, weight, target, None if kind == PIXEL_PAIRS else 1)
    assert kernel is not None, f"no dot product of {data} and {weight} on {target.name}"
    return kernel


def _of_packed_weight(schedule: Callable[..., None]) -> Callable[..., None]:
    """``schedule``, given the dot product that the anchor's weights were packed for."""

    def with_kernel(
        sch: Schedule, anchor: Block, target: TargetDescription, decide: Decide
    ) -> None:
        schedule(sch, anchor, target, _kernel(sch, anchor, target), decide)

    return with_kernel


#: The schedule of each kind of anchor, by the value of its :data:`ANCHOR` attribute.
_SCHEDULES: dict[str, Callable[..., None]] = {
    ATTENTION: schedule_attention,
    BFLOAT16_ATTENTION: schedule_bfloat16_attention,
    BATCHED_MATMUL: schedule_batched_matmul,
    AMX_CONV: schedule_amx_conv,
    WINOGRAD: schedule_winograd_conv,
    SPARSE_CONV: schedule_sparse_conv,
    DEPTHWISE_CONV: schedule_depthwise_conv,
    DEPTHWISE_DOT: schedule_depthwise_dot,
    PIXEL_PAIRS: _of_packed_weight(schedule_pixel_pairs),
    DIRECT_CONV: _of_packed_weight(schedule_direct_conv),
    STAGED_CONV: _of_packed_weight(schedule_staged_conv),
}
