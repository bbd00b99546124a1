"""The order of the passes. This file is the only list of it.

float Relax --canonical--> NHWC float --(quantize)--> Q/DQ
--lower: realize--> integer Relax --> packed anchors, lifted constants, fused, scheduled TIR
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tvmcomp.passes.channels_last import channels_last
from tvmcomp.passes.elementwise import ELEMENT_WISE_KERNEL
from tvmcomp.passes.fold_scale import fold_scale
from tvmcomp.passes.half import half_precision
from tvmcomp.passes.lift_constants import lift_constants
from tvmcomp.passes.lower_anchors import lower_anchors
from tvmcomp.passes.qdq import has_qdq
from tvmcomp.passes.realize import realize
from tvmcomp.passes.rewriter import main_bindings, op_name
from tvmcomp.passes.schedule import Tuned, schedule_module
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

relax = tvm.relax
_ELEMENT_WISE = 0  # TVM's OpPatternKind::kElemWise

#: Called after each phase with its name and the module: ``--dump`` writes it to a file.
Watch = Callable[[str, Any], None]


def _ignore(name: str, mod: Any) -> None:
    """The :data:`Watch` of a build that dumps nothing."""


def canonical(mod: Any, watch: Watch | None = None) -> Any:
    """Imported float Relax in the form that quantization and lowering expect: folded, NHWC."""
    watch = watch or _ignore
    watch("imported", mod)
    mod = channels_last(mod)
    watch("channels_last", mod)
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
    """

    mod: Any
    constants: list[np.ndarray]
    tasks: dict[str, Any]


def lower(
    mod: Any,
    target: TargetDescription,
    watch: Watch | None = None,
    tuned: Tuned | None = None,
    half: str | None = None,
) -> Lowered:
    """Lower NHWC Relax, float or with Q/DQ in it, to scheduled TIR for ``target``.

    Args:
        mod: the module.
        target: the device.
        watch: called after each phase.
        tuned: gives schedules of tuning records.
        half: ``float16`` or ``bfloat16`` to store the anchors' float weights so.
    """
    watch = watch or _ignore
    if has_qdq(mod):
        mod = realize(mod, target)
        watch("realize", mod)
    if target.family != "cuda":
        mod = lower_anchors(mod, target, half)
        watch("lower_anchors", mod)
    elif half:
        mod = half_precision(mod, half)
        watch("half_precision", mod)
    mod, constants = lift_constants(mod)
    with tvm.target.Target(target.tvm_target_dict()):
        mod = tvm.transform.Sequential(
            [relax.transform.LegalizeOps(), relax.transform.AnnotateTIROpPattern()]
        )(mod)
        mod = _mark_element_wise(mod)
        mod = tvm.transform.Sequential(
            [
                relax.transform.FuseOps(),
                relax.transform.FuseTIR(),
                relax.transform.DeadCodeElimination(),
            ]
        )(mod)
    watch("fused", mod)
    tasks = {
        str(var.name_hint): func  # TVM's own kind of string can't be written as JSON
        for var, func in mod.functions.items()
        if isinstance(func, tvm.tirx.PrimFunc)
    }
    mod = schedule_module(mod, target, tuned)
    watch("scheduled", mod)
    return Lowered(mod, constants, tasks)


def _mark_element_wise(mod: Any) -> Any:
    """Tell fusion which kernels of ours are element-wise."""
    for var, func in mod.functions.items():
        if func.attrs and ELEMENT_WISE_KERNEL in func.attrs.keys():  # noqa: SIM118  not a dict
            mod.update_func(var, func.with_attr("op_pattern", _ELEMENT_WISE))
    return mod


def call_counts(mod: Any) -> dict[str, int]:
    """How often ``main`` calls each PrimFunc, by name."""
    counts: dict[str, int] = {}
    for binding in main_bindings(mod) or []:
        if op_name(binding.value) == "call_tir":
            name = binding.value.args[0].name_hint
            counts[name] = counts.get(name, 0) + 1
    return counts
