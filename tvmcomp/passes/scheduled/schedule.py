"""Schedule every PrimFunc of a module: by a tuning record where one fits, else analytically."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvmcomp.passes.scheduled.beside_moves import beside_moves
from tvmcomp.schedules import apply_schedule
from tvmcomp.schedules.cuda import schedule_kernel
from tvmcomp.schedules.rows.moves import BESIDE_MOVE
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import cheap_stack_inspection, tvm
from tvmcomp.tvm_types import Module, PrimFunc

#: The attribute of a scheduled PrimFunc, and of all that later passes make of it: the name that it
#: had when it was scheduled.
SCHEDULED_AS = "tvmcomp.scheduled_as"

#: Given a PrimFunc's name and the function, the function scheduled by a tuning record, or None.
Tuned = Callable[[str, Any], Any | None]


def schedule_module(mod: Module, target: TargetDescription, tuned: Tuned | None = None) -> Module:
    """Replace each PrimFunc of ``mod`` by its scheduled form for ``target``."""
    if target.family == "cuda":
        return _schedule_cuda(mod, target, tuned)
    functions = {}
    beside = beside_moves(mod)
    for var, func in mod.functions.items():
        if isinstance(func, tvm.tirx.PrimFunc) and schedulable(func):
            scheduled = tuned(var.name_hint, func) if tuned else None
            if scheduled is None:
                moved = var.name_hint in beside
                sch = tvm.s_tir.Schedule(func.with_attr(BESIDE_MOVE, True) if moved else func)
                apply_schedule(sch, target)
                scheduled = sch.mod["main"]
            func = scheduled_as(var.name_hint, func, scheduled)
        functions[var] = func
    return tvm.IRModule(functions)


def scheduled_as(name: str, func: PrimFunc, scheduled: Any) -> Any:
    """``scheduled`` in the place of ``func``, whose name is ``name``: with its attributes."""
    for key, value in func.attrs.items() if func.attrs else ():
        scheduled = scheduled.with_attr(key, value)
    for key, value in (("global_symbol", name), ("tirx.is_scheduled", True), (SCHEDULED_AS, name)):
        scheduled = scheduled.with_attr(key, value)
    return scheduled


def tasks_of_kernels(mod: Module) -> dict[str, str]:
    """Each scheduled kernel of ``mod`` -> the name that it was scheduled as."""
    return {
        str(var.name_hint): str(func.attrs[SCHEDULED_AS])
        for var, func in mod.functions.items()
        if isinstance(func, tvm.tirx.PrimFunc) and func.attrs and func.attrs.get(SCHEDULED_AS)
    }


def schedulable(func: PrimFunc) -> bool:
    """Whether ``func`` is made of blocks; sort, NMS, scans and the like come as opaque loops, some
    in one block, but under no root. What is scheduled already stays so."""
    if func.attrs and "tirx.is_scheduled" in func.attrs.keys():  # noqa: SIM118  not a dict
        return False
    body = func.body
    blocks = isinstance(body, tvm.s_tir.SBlockRealize) and str(body.block.name_hint) == "root"
    return blocks and _has_elements(func)


def _has_elements(func: PrimFunc) -> bool:
    """Whether every shape is static and none is empty: there is no loop to split in those."""
    return all(
        isinstance(dim, tvm.tirx.IntImm) and int(dim) > 0
        for param in func.params
        for dim in getattr(param, "shape", ())
    )


def _schedule_cuda(mod: Module, target: TargetDescription, tuned: Tuned | None) -> Module:
    """Our kernels where there are such, and TVM's DLight rules for the rest: thread-bound schedules
    for matrix products, reductions and all else."""
    functions = {}
    for var, func in mod.functions.items():
        if isinstance(func, tvm.tirx.PrimFunc) and schedulable(func):
            scheduled = tuned(var.name_hint, func) if tuned else None
            if scheduled is None:
                found = schedule_kernel(func, target)
                scheduled = found[1] if found is not None else None
            if scheduled is not None:
                func = scheduled_as(var.name_hint, func, scheduled)
        functions[var] = func
    with cheap_stack_inspection():
        from tvm.s_tir import dlight

    with tvm.target.Target(target.tvm_target_dict()):
        return dlight.ApplyDefaultSchedule(
            dlight.gpu.Matmul(),
            dlight.gpu.GEMV(),
            dlight.gpu.Reduction(),
            dlight.gpu.GeneralReduction(),
            dlight.gpu.Fallback(),
        )(tvm.IRModule(functions))
