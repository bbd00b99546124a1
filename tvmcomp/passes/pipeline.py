"""The order of the passes. This file is the only list of it.

float Relax --canonical--> NHWC float --(quantize)--> Q/DQ
--lower: realize--> integer Relax --> packed anchors, lifted constants, fused, scheduled TIR
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tvmcomp.passes.canonical.channels_last import channels_last
from tvmcomp.passes.canonical.constant_division import constant_division
from tvmcomp.passes.canonical.fold_scale import fold_scale
from tvmcomp.passes.canonical.fuse_normalization import fuse_normalization
from tvmcomp.passes.elementwise import ELEMENT_WISE_KERNEL, EPILOGUE_KERNEL
from tvmcomp.passes.integers.qdq import has_qdq
from tvmcomp.passes.integers.realize import realize
from tvmcomp.passes.lowering.half import half_precision
from tvmcomp.passes.lowering.kernel_sources import kernel_sources
from tvmcomp.passes.lowering.legalize_quantize import legalize_quantize
from tvmcomp.passes.lowering.lift_constants import lift_constants
from tvmcomp.passes.lowering.lower_anchors import lower_anchors
from tvmcomp.passes.lowering.lower_matmul import lower_matmul
from tvmcomp.passes.lowering.lower_rows import lower_rows
from tvmcomp.passes.lowering.store_bfloat16 import import_into_kernels, store_bfloat16
from tvmcomp.passes.rewriter import main_bindings, op_name
from tvmcomp.passes.scheduled.halo import write_halos
from tvmcomp.passes.scheduled.schedule import SCHEDULED_AS, Tuned, schedule_module, scheduled_as
from tvmcomp.passes.scheduled.unaligned_inputs import unaligned_inputs
from tvmcomp.schedules.bfloat16 import has_bfloat16
from tvmcomp.schedules.conv.padding import PADDING
from tvmcomp.schedules.op_pattern import OpPattern
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

relax = tvm.relax
_PATTERNS = {ELEMENT_WISE_KERNEL: OpPattern.ELEMENT_WISE, EPILOGUE_KERNEL: OpPattern.OUT_FUSABLE}

#: Called after each phase with its name and the module: ``--dump`` writes it to a file.
Watch = Callable[[str, Any], None]


def _ignore(name: str, mod: Any) -> None:
    """The :data:`Watch` of a build that dumps nothing."""


def canonical(mod: Any, watch: Watch | None = None) -> Any:
    """Imported float Relax in the form that quantization and lowering expect: folded, NHWC."""
    watch = watch or _ignore
    watch("imported", mod)
    mod = fuse_normalization(mod)
    watch("fuse_normalization", mod)
    mod = channels_last(mod)
    watch("channels_last", mod)
    mod = constant_division(mod)
    mod = fold_scale(mod)
    watch("fold_scale", mod)
    return mod


@dataclass(frozen=True)
class Lowered:
    """A scheduled module, ready for code generation.

    Attributes:
        mod: Relax ``main`` over scheduled PrimFuncs; ``main`` takes the inputs, then the constants.
        constants: what to pass for the constants, in order.
        tasks: the fused PrimFuncs before scheduling, by name: what the tuner works on.
        calls: how often an inference runs each of those; padding that a producer writes is not run.
        sources: what each of them computes, see :func:`kernel_sources`.
        unaligned_inputs: the inputs may lie at any address that suits their elements.
        scheduled: ``mod`` before the passes that change scheduled kernels.
    """

    mod: Any
    constants: list[np.ndarray]
    tasks: dict[str, Any]
    calls: dict[str, int]
    sources: dict[str, frozenset[str]]
    unaligned_inputs: bool
    scheduled: Any

    def tasks_of_kernels(self) -> dict[str, str]:
        """Kernel of ``mod`` -> the task that it was scheduled as."""
        return {
            str(var.name_hint): str(func.attrs[SCHEDULED_AS])
            for var, func in self.mod.functions.items()
            if _is_scheduled(func)
        }

    def rescheduled(self, schedules: Mapping[str, Any]) -> Any:
        """The kernels that ``mod`` would have, under the same names, with other schedules.

        Args:
            schedules: task -> the scheduled function.

        Returns:
            A module with the kernels of those tasks only.
        """
        mod = tvm.IRModule(self.scheduled.functions)
        for name, func in schedules.items():
            scheduled = scheduled_as(name, self.tasks[name], func)
            mod.update_func(mod.get_global_var(name), scheduled)
        mod, _ = _finish(mod, len(mod["main"].params) - len(self.constants))
        return tvm.IRModule(
            {
                var: func.with_attr("global_symbol", var.name_hint)
                for var, func in mod.functions.items()
                if _is_scheduled(func) and func.attrs[SCHEDULED_AS] in schedules
            }
        )


def lower(
    mod: Any,
    target: TargetDescription,
    watch: Watch | None = None,
    tuned: Tuned | None = None,
    half: str | None = None,
    winograd: bool = True,
) -> Lowered:
    """Lower NHWC Relax, float or with Q/DQ in it, to scheduled TIR for ``target``.

    Args:
        mod: the module.
        target: the device.
        watch: called after each phase.
        tuned: gives schedules of tuning records.
        half: ``float16`` or ``bfloat16`` to store the anchors' float weights so.
        winograd: transform weights where that is faster; without, they are only packed.
    """
    watch = watch or _ignore
    in_bfloat16 = half == "bfloat16" and has_bfloat16(target)
    if has_qdq(mod):
        mod = realize(mod, target)
        watch("realize", mod)
    if target.family != "cuda":
        mod = lower_matmul(mod, target)
        watch("lower_matmul", mod)
        mod = lower_anchors(mod, target, half, winograd)
        mod = lower_rows(mod)
        watch("lower_anchors", mod)
    elif half:
        mod = half_precision(mod, half)
        watch("half_precision", mod)
    mod, constants = lift_constants(mod)
    with tvm.target.Target(target.tvm_target_dict()):
        mod = tvm.transform.Sequential(
            [
                relax.transform.LegalizeOps({"relax.quantize": legalize_quantize}),
                relax.transform.AnnotateTIROpPattern(),
            ]
        )(mod)
        mod = _mark_patterns(mod)
        mod = relax.transform.FuseOps()(mod)
        sources = kernel_sources(mod)
        if in_bfloat16:
            mod = store_bfloat16(mod)
        mod = tvm.transform.Sequential(
            [relax.transform.FuseTIR(), relax.transform.DeadCodeElimination()]
        )(mod)
    if in_bfloat16:
        mod = import_into_kernels(mod, target)
    watch("fused", mod)
    tasks = {
        str(var.name_hint): func  # TVM's own kind of string can't be written as JSON
        for var, func in mod.functions.items()
        if isinstance(func, tvm.tirx.PrimFunc)
    }
    calls = call_counts(mod)
    scheduled = schedule_module(mod, target, tuned)
    mod, anywhere = scheduled, False
    if target.family != "cuda":
        mod, anywhere = _finish(scheduled, len(scheduled["main"].params) - len(constants))
    kept = call_counts(mod)
    calls = {name: n for name, n in calls.items() if name in kept or not is_padding(tasks[name])}
    watch("scheduled", mod)
    return Lowered(mod, constants, tasks, calls, sources, anywhere, scheduled)


def _finish(mod: Any, inputs: int) -> tuple[Any, bool]:
    """The passes over scheduled kernels, under a ``main`` that takes so many inputs."""
    return unaligned_inputs(write_halos(mod), inputs)


def _is_scheduled(func: Any) -> bool:
    return isinstance(func, tvm.tirx.PrimFunc) and bool(func.attrs and func.attrs.get(SCHEDULED_AS))


def is_padding(func: Any) -> bool:
    """Whether a PrimFunc only puts a border around its input."""
    return bool(func.attrs) and PADDING in func.attrs.keys()  # noqa: SIM118  not a dict


def _mark_patterns(mod: Any) -> Any:
    """Tell fusion what kernels of ours can be fused with: its own analysis does not see it."""
    for var, func in mod.functions.items():
        for mark, pattern in _PATTERNS.items():
            if func.attrs and mark in func.attrs.keys():  # noqa: SIM118  not a dict
                mod.update_func(var, func.with_attr("op_pattern", int(pattern)))
    return mod


def call_counts(mod: Any) -> dict[str, int]:
    """How often ``main`` calls each PrimFunc, by name."""
    counts: dict[str, int] = {}
    for binding in main_bindings(mod) or []:
        if op_name(binding.value) == "call_tir":
            name = str(binding.value.args[0].name_hint)  # not TVM's own kind of string
            counts[name] = counts.get(name, 0) + 1
    return counts
