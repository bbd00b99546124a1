"""Schedules for NVIDIA GPUs: kernels of threads and tensor cores."""

from __future__ import annotations

from typing import Any

from tvmcomp.schedules.blocking import Decide, analytic
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_types import PrimFunc

__all__ = ["schedule_kernel"]


def schedule_kernel(
    func: PrimFunc, target: TargetDescription, decide: Decide = analytic
) -> tuple[str, Any] | None:
    """``func`` as a kernel of ours.

    Args:
        func: a fused PrimFunc of blocks, unscheduled, of static shapes.
        target: an NVIDIA GPU.
        decide: answers the choices; which are asked does not depend on the answers.

    Returns:
        The kernel's class and the scheduled function; None where there is no schedule of ours.

    Raises:
        ValueError: the answers of ``decide`` do not fit together.
    """
    return None
