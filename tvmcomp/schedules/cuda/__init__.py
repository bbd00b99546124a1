"""Schedules for NVIDIA GPUs: kernels of threads and tensor cores.

Each is made statement by statement of what a fused function computes, and not by changing its
loops: which thread copies what, and what lies between two barriers, can be read in one place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvmcomp.schedules.blocking import Decide, analytic
from tvmcomp.schedules.cuda.element_kernel import choose_together, element_kernel
from tvmcomp.schedules.cuda.fused import Fused, fused_reduction, inlined
from tvmcomp.schedules.cuda.kernel import kernel_function
from tvmcomp.schedules.cuda.product import find_product, multiplies_matrices
from tvmcomp.schedules.cuda.product_kernel import product_kernel
from tvmcomp.schedules.cuda.row_kernel import choose_row, row_kernel
from tvmcomp.schedules.cuda.rows import find_rows
from tvmcomp.schedules.cuda.tile import choose_tile
from tvmcomp.schedules.cuda.window_kernel import choose_window, suits_window, window_kernel
from tvmcomp.schedules.stages import Stage, read_stages
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimFunc, Schedule

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
    sch = tvm.s_tir.Schedule(func)
    stages = read_stages(sch)
    found = _launches(sch, stages, func, target, decide) if stages else None
    return None if found is None else (found[0], kernel_function(func, found[1]))


def _launches(
    sch: Schedule,
    stages: Sequence[Stage],
    func: PrimFunc,
    target: TargetDescription,
    decide: Decide,
) -> tuple[str, list[Any]] | None:
    """The kernel's class and its launches."""
    fused, rows = fused_reduction(stages, func.params), find_rows(stages, func.params)
    if fused is not None and (rows is None or fused.rest is None or not rows.contiguous):
        found = _of_reduction(sch, fused, target, decide)
        if found is not None:
            return found
    if rows is not None and (fused is None or not multiplies_matrices(fused.anchor)):
        return "rows", row_kernel(rows, choose_row(sch, rows, target, decide))
    if any(stage.reduced for stage in stages):
        return None
    stage = inlined(stages[-1], stages[:-1])
    results = [each for each in stages if any(each.buffer.same_as(p) for p in func.params)]
    if len(results) != 1 or results[0] is not stages[-1]:
        return None
    return "elementwise", element_kernel(stage, choose_together(sch, stage, decide))


def _of_reduction(
    sch: Schedule, fused: Fused, target: TargetDescription, decide: Decide
) -> tuple[str, list[Any]] | None:
    """The same of one reduction whose every result a thread or a tile computes."""
    product = find_product(fused, target.capability)
    if product is not None:
        tile = choose_tile(sch, product.sizes, product.left.nbytes, target, decide)
        name, launches = product.kind, product_kernel(product, tile)
    elif suits_window(fused, target) and not multiplies_matrices(fused.anchor):
        choice = choose_window(sch, fused, target, decide)
        name, launches = "window", window_kernel(fused, choice)
    else:
        return None
    if fused.rest is not None:
        rest = element_kernel(fused.rest, choose_together(sch, fused.rest, analytic))
        launches = [tvm.tirx.AllocBuffer(fused.anchor.buffer), *launches, *rest]
    return name, launches
