"""The kernel of a tuning record, made again: of its trace, or of its point in a design space."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tvmcomp.tuning.log.record import Record, Versions
from tvmcomp.tuning.space import Scheduled, WholeKernels, point
from tvmcomp.tuning.trace import apply_trace, kernel_hash

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

logger = logging.getLogger(__name__)


def rebuild(record: Record, func: PrimFunc, whole: WholeKernels | None = None) -> Scheduled:
    """Make the kernel of ``record`` again.

    Args:
        record: it.
        func: its workload.
        whole: the target's design space, where that makes kernels as a whole.

    Raises:
        ValueError: the record is malformed, or makes another kernel than the one that was measured.
        Exception: whatever TVM raises where the trace does not fit ``func``.
    """
    scheduled: Scheduled
    if whole is not None and record.space and record.trace == [[], []]:
        made = point(whole, func, record.choices)
        if made is None or made.space != record.space:
            raise ValueError(f"there is no design space {record.space[:40]!r} of this kernel here")
        scheduled = made.schedule
    else:
        scheduled = apply_trace(record.trace, func)
    if record.kernel and record.kernel != kernel_hash(scheduled):
        raise ValueError("it does not make the kernel again that was measured")
    if not record.kernel and record.versions != Versions.here():
        raise ValueError("it is of other versions, and does not say which kernel was measured")
    return scheduled


def apply_record(
    record: Record, func: PrimFunc, whole: WholeKernels | None = None
) -> Scheduled | None:
    """Schedule ``func`` as ``record`` says; the arguments are those of :func:`rebuild`.

    Returns:
        The scheduled function, as ``main`` of its module, or None where the record does not fit;
        the reason goes to the log of this module as a warning.
    """
    try:
        return rebuild(record, func, whole)
    except Exception as error:  # noqa: BLE001  data from outside: TVM may raise anything
        reason = str(error).strip().split("\n")[0][:200]
        logger.warning(
            "record of %s from %s not used: %s", record.workload.name, record.date, reason
        )
        return None
