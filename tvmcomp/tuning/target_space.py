"""What a target's kernels are tuned over, and the schedule that they have without tuning."""

from __future__ import annotations

from tvmcomp import schedules
from tvmcomp.passes.scheduled.schedule import schedule_module
from tvmcomp.schedules.cuda import schedule_kernel
from tvmcomp.targets import TargetDescription
from tvmcomp.tuning.space import MadeKernel, Scheduled, Space, WholeKernels
from tvmcomp.tvm_types import Schedule


def whole_kernels(target: TargetDescription) -> WholeKernels | None:
    """The design space of a target whose kernels are made as a whole, None for others."""
    if target.family != "cuda":
        return None
    return WholeKernels(lambda func, decide: schedule_kernel(func, target, decide))


def target_space(target: TargetDescription) -> Space | WholeKernels:
    """The design space of our schedules."""
    return whole_kernels(target) or schedules.design_space(target)


def apply_baseline(sch: Schedule, target: TargetDescription) -> Scheduled:
    """Schedule the kernel of ``sch`` as a build without records does.

    Returns:
        ``sch`` itself, or the kernel that takes its place.
    """
    if target.family == "cuda":
        return MadeKernel(schedule_module(sch.mod, target))
    schedules.apply_schedule(sch, target)
    return sch
