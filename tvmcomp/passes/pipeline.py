"""The order of the passes, in phases. This file is the only list of it.

imported Relax --canonical--> NHWC float --(quantize)--> Q/DQ --integers--> integer Relax
  --lowering--> kernels for what we have our own of --fusion--> nothing but fused kernels
  --scheduling--> scheduled TIR --scheduled--> borders and inputs in place
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tvmcomp.passes.bodies import in_bodies, views
from tvmcomp.passes.call_counts import calls_of_tasks
from tvmcomp.passes.canonical.channel_order import channel_order
from tvmcomp.passes.canonical.channel_shuffle import channel_shuffles
from tvmcomp.passes.canonical.channels_last import channels_last
from tvmcomp.passes.canonical.constant_division import constant_division
from tvmcomp.passes.canonical.fold_scale import fold_scale
from tvmcomp.passes.canonical.fuse_normalization import fuse_normalization
from tvmcomp.passes.canonical.one_pixel_wide import one_pixel_wide
from tvmcomp.passes.canonical.reached_taps import reached_taps
from tvmcomp.passes.canonical.zero_factor import zero_factor
from tvmcomp.passes.integers.qdq import has_qdq
from tvmcomp.passes.integers.realize import realize
from tvmcomp.passes.lowered import Lowered, LoweredOperators
from tvmcomp.passes.lowering.call_sources import CallSources, call_sources, in_order_of
from tvmcomp.passes.lowering.gpu_forms import gpu_forms
from tvmcomp.passes.lowering.gpu_products import gpu_products
from tvmcomp.passes.lowering.gpu_recurrent import gpu_recurrent
from tvmcomp.passes.lowering.half import half_precision
from tvmcomp.passes.lowering.integer_products import integer_products
from tvmcomp.passes.lowering.keep_moves import keep_moves
from tvmcomp.passes.lowering.kernel_sources import kernel_sources
from tvmcomp.passes.lowering.legalizations import legalizations
from tvmcomp.passes.lowering.lift_constants import lift_constants
from tvmcomp.passes.lowering.lower_anchors import lower_anchors
from tvmcomp.passes.lowering.lower_block_matmul import lower_block_matmul
from tvmcomp.passes.lowering.lower_matmul import lower_matmul
from tvmcomp.passes.lowering.lower_recurrent import lower_recurrent
from tvmcomp.passes.lowering.lower_rows import lower_rows
from tvmcomp.passes.lowering.lower_scans import lower_scans
from tvmcomp.passes.lowering.lower_scatter import lower_scatter
from tvmcomp.passes.lowering.mark_patterns import mark_patterns
from tvmcomp.passes.lowering.sparse_form import Race, SparseForms
from tvmcomp.passes.lowering.store_bfloat16 import import_into_kernels, store_bfloat16
from tvmcomp.passes.phase import Pass, Phase, Watch
from tvmcomp.passes.properties import (
    convolutions_channels_last,
    kernels_scheduled,
    only_kernels,
)
from tvmcomp.passes.scheduled.expand_loops import expand_loops
from tvmcomp.passes.scheduled.halo import write_halos
from tvmcomp.passes.scheduled.in_place import move_in_place
from tvmcomp.passes.scheduled.schedule import Tuned, schedule_module, scheduled_as, tasks_of_kernels
from tvmcomp.passes.scheduled.unaligned_inputs import unaligned_inputs
from tvmcomp.schedules.bfloat16 import has_bfloat16
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module

relax = tvm.relax

#: What the importer gives -> what quantization and lowering expect: folded, NHWC.
CANONICAL = Phase(
    "canonical",
    {
        "fuse_normalization": in_bodies(fuse_normalization),
        "channel_shuffles": in_bodies(channel_shuffles),
        "reached_taps": in_bodies(reached_taps),
        "one_pixel_wide": in_bodies(one_pixel_wide),
        "channels_last": in_bodies(channels_last),
        "channel_order": in_bodies(channel_order),
        "constant_division": in_bodies(constant_division),
        "fold_scale": in_bodies(fold_scale),
        "zero_factor": in_bodies(zero_factor),
    },
    ensures=(convolutions_channels_last,),
)


def canonical(mod: Module, watch: Watch | None = None) -> Module:
    """Imported float Relax in the form that quantization and lowering expect: folded, NHWC."""
    if watch is not None:
        watch("imported", mod)
    return CANONICAL.run(mod, watch)


def _integers(target: TargetDescription) -> Phase:
    """Q/DQ -> integer operators."""
    return Phase(
        "integers",
        {"realize": in_bodies(lambda mod: realize(mod, target))},
        requires=(convolutions_channels_last,),
        ensures=(convolutions_channels_last,),
    )


def _lowering(
    target: TargetDescription,
    half: str | None,
    winograd: bool,
    sparse: SparseForms | None,
    constants: list[np.ndarray],
) -> Phase:
    """Operators that we have kernels for -> these; what they read is put into ``constants``."""

    def lift(mod: Module) -> Module:
        mod, lifted = lift_constants(mod)
        constants.extend(lifted)
        return mod

    if target.family == "cuda":
        passes: dict[str, Pass] = {
            "lower_block_matmul": in_bodies(lambda mod: lower_block_matmul(mod, target)),
            "gpu_recurrent": in_bodies(lambda mod: gpu_recurrent(mod, target)),
        }
        if half:
            passes["half_precision"] = in_bodies(lambda mod: half_precision(mod, half))
        passes["gpu_products"] = in_bodies(gpu_products)
        passes["gpu_forms"] = in_bodies(gpu_forms)
    else:
        passes = {
            "keep_moves": in_bodies(keep_moves),
            "integer_products": in_bodies(lambda mod: integer_products(mod, target)),
            "lower_block_matmul": in_bodies(lambda mod: lower_block_matmul(mod, target)),
            "lower_recurrent": in_bodies(lambda mod: lower_recurrent(mod, target)),
            "lower_matmul": in_bodies(lambda mod: lower_matmul(mod, target, half)),
            "lower_anchors": in_bodies(
                lambda mod: lower_anchors(mod, target, half, winograd, sparse)
            ),
            "lower_rows": in_bodies(lower_rows),
            "lower_scans": in_bodies(lambda mod: lower_scans(mod, target)),
            "lower_scatter": in_bodies(lambda mod: lower_scatter(mod, target)),
        }
    passes["lift_constants"] = lift
    return Phase("lowering", passes, requires=(convolutions_channels_last,))


def _fusion(
    target: TargetDescription,
    in_bfloat16: bool,
    sources: dict[str, frozenset[str]],
    calls: CallSources,
) -> Phase:
    """The others -> kernels, then neighbours -> one kernel; of what is put into ``sources``, for
    each call into ``calls``."""
    unfused: list[Module] = []

    def keep(mod: Module) -> Module:
        unfused.append(mod)
        return mod

    def find_sources(mod: Module) -> Module:
        sources.update(kernel_sources(mod))
        calls.update(call_sources(unfused.pop(), mod))
        return mod

    passes: dict[str, Pass] = {
        "legalize": relax.transform.LegalizeOps(legalizations(target.family)),
        "annotate_patterns": relax.transform.AnnotateTIROpPattern(),
        "mark_patterns": mark_patterns,
        "unfused": keep,
        "fuse_operators": relax.transform.FuseOps(),
        "kernel_sources": find_sources,
        "store_bfloat16": in_bodies(store_bfloat16),
        "fuse_kernels": relax.transform.FuseTIR(),
        "remove_dead_code": relax.transform.DeadCodeElimination(),
        "import_bfloat16": lambda mod: import_into_kernels(mod, target),
    }
    if not in_bfloat16:
        del passes["store_bfloat16"], passes["import_bfloat16"]
    return Phase("fusion", passes, ensures=(only_kernels,))


def _scheduling(target: TargetDescription, tuned: Tuned | None) -> Phase:
    """Kernels -> kernels with a schedule."""
    return Phase(
        "scheduling",
        {"schedule": lambda mod: schedule_module(mod, target, tuned)},
        requires=(only_kernels,),
        ensures=() if target.family == "cuda" else (kernels_scheduled,),
    )


def lower(
    mod: Module,
    target: TargetDescription,
    watch: Watch | None = None,
    tuned: Tuned | None = None,
    half: str | None = None,
    winograd: bool = True,
    race: Race | None = None,
) -> Lowered:
    """Lower NHWC Relax, float or with Q/DQ in it, to scheduled TIR for ``target``.

    Args:
        mod: the module.
        target: the device.
        watch: called after each pass.
        tuned: gives schedules of tuning records.
        half: ``float16`` or ``bfloat16`` to store the anchors' float weights so.
        winograd: transform weights, or leave out their zeros, where that is faster; without, they
            are only packed.
        race: measures kernels on this machine, where ``target``'s code runs on it.
    """
    operators = lower_operators(mod, target, watch, half, winograd, race)
    return lower_kernels(operators, target, watch, tuned)


def lower_operators(
    mod: Module,
    target: TargetDescription,
    watch: Watch | None = None,
    half: str | None = None,
    winograd: bool = True,
    race: Race | None = None,
) -> LoweredOperators:
    """The first half of :func:`lower`: operators that we have kernels for become these, and their
    weights arguments."""
    constants: list[np.ndarray] = []
    if any(map(has_qdq, views(mod))):
        mod = _integers(target).run(mod, watch)
    sparse = SparseForms(target, race) if winograd else None
    mod = _lowering(target, half, winograd, sparse, constants).run(mod, watch)
    decisions = tuple(sparse.decisions) if sparse is not None else ()
    in_bfloat16 = half == "bfloat16" and has_bfloat16(target)
    return LoweredOperators(mod, constants, in_bfloat16, decisions)


def lower_kernels(
    operators: LoweredOperators,
    target: TargetDescription,
    watch: Watch | None = None,
    tuned: Tuned | None = None,
) -> Lowered:
    """The second half of :func:`lower`: fusion and schedules."""
    constants = operators.constants
    sources: dict[str, frozenset[str]] = {}
    computed: CallSources = {}
    with tvm.target.Target(target.tvm_target_dict()):
        fused = _fusion(target, operators.in_bfloat16, sources, computed).run(operators.mod, watch)
    tasks = {
        str(var.name_hint): func  # TVM's own kind of string can't be written as JSON
        for var, func in fused.functions.items()
        if isinstance(func, tvm.tirx.PrimFunc)
    }
    scheduled = _scheduling(target, tuned).run(fused, watch)
    placed, anywhere = scheduled, False
    if target.family != "cuda":
        placed, anywhere = _place(scheduled, constants, target, watch)
    return Lowered(
        expand_loops(placed, target),
        placed,
        constants,
        tasks,
        calls_of_tasks(fused, placed, tasks),
        sources,
        anywhere,
        scheduled,
        target,
        operators.sparse,
        in_order_of(computed, placed, tasks_of_kernels(placed)),
    )


def rescheduled(lowered: Lowered, schedules: Mapping[str, Any]) -> Any:
    """The kernels that ``lowered`` would have, under the same names, with other schedules.

    Args:
        lowered: the network.
        schedules: task -> the scheduled function.

    Returns:
        A module with the kernels of those tasks only.
    """
    mod = tvm.IRModule(lowered.scheduled.functions)
    for name, func in schedules.items():
        scheduled = scheduled_as(name, lowered.tasks[name], func)
        mod.update_func(mod.get_global_var(name), scheduled)
    mod, _ = _place(mod, lowered.constants, lowered.target)
    kernels = [kernel for kernel, task in tasks_of_kernels(mod).items() if task in schedules]
    return tvm.IRModule({name: mod[name].with_attr("global_symbol", name) for name in kernels})


def _place(
    mod: Module,
    constants: Sequence[np.ndarray],
    target: TargetDescription,
    watch: Watch | None = None,
) -> tuple[Any, bool]:
    """Scheduled kernels -> these, writing into borders and joins, and reading inputs anywhere.

    Returns:
        The module, and whether its inputs may lie at any address.
    """
    inputs = len(mod["main"].params) - len(constants)
    anywhere: list[bool] = []

    def unalign(mod: Module) -> Module:
        mod, found = unaligned_inputs(mod, inputs)
        anywhere.append(found)
        return mod

    passes: dict[str, Pass] = {
        "write_halos": in_bodies(write_halos),
        "move_in_place": in_bodies(lambda mod: move_in_place(mod, target)),
        "unaligned_inputs": unalign,
    }
    phase = Phase("scheduled", passes)
    return phase.run(mod, watch), anywhere[0]
