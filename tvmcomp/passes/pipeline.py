"""The order of the passes. This file is the only list of it.

    float Relax --canonical--> NHWC float --(quantize)--> Q/DQ --realize--> integer Relax
        --lowered--> packed anchors, lifted constants, fused PrimFuncs --scheduled--> TIR
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tvmcomp.passes.channels_last import channels_last
from tvmcomp.passes.fold_scale import fold_scale
from tvmcomp.passes.lift_constants import lift_constants
from tvmcomp.passes.lower_anchors import lower_anchors
from tvmcomp.passes.schedule import Tuned, schedule_module
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

relax = tvm.relax

#: Called after each phase with its name and the module: ``--dump`` writes it to a file.
Watch = Callable[[str, Any], None]


def _ignore(name: str, mod: Any) -> None:
    """The :data:`Watch` of a build that dumps nothing."""


def canonical(mod: Any, watch: Watch = _ignore) -> Any:
    """Imported float Relax in the form that quantization and lowering expect: folded, NHWC."""
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
    watch: Watch = _ignore,
    tuned: Tuned | None = None,
) -> Lowered:
    """Lower Relax (float, or integer after ``realize``) to scheduled TIR for ``target``."""
    if target.family != "cuda":
        mod = lower_anchors(mod, target)
        watch("lower_anchors", mod)
    mod, constants = lift_constants(mod)
    with tvm.target.Target(target.tvm_target_dict()):
        mod = tvm.transform.Sequential(
            [
                relax.transform.LegalizeOps(),
                relax.transform.AnnotateTIROpPattern(),
                relax.transform.FuseOps(),
                relax.transform.FuseTIR(),
                relax.transform.DeadCodeElimination(),
            ]
        )(mod)
    watch("fused", mod)
    tasks = {
        var.name_hint: func
        for var, func in mod.functions.items()
        if isinstance(func, tvm.tirx.PrimFunc)
    }
    mod = schedule_module(mod, target, tuned)
    watch("scheduled", mod)
    return Lowered(mod, constants, tasks)
