"""The order of the passes, in phases. This file is the only list of it.

imported Relax --canonical--> NHWC float --(quantize)--> Q/DQ --integers--> integer Relax
  --lowering--> kernels for what we have our own of --fusion--> nothing but fused kernels
  --scheduling--> scheduled TIR --scheduled--> borders and inputs in place
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tvmcomp.loops import LOOP_BODY, loop_bodies
from tvmcomp.passes.bodies import as_main, body_of, in_bodies, trips_of_bodies, views
from tvmcomp.passes.canonical.channel_order import channel_order
from tvmcomp.passes.canonical.channel_shuffle import channel_shuffles
from tvmcomp.passes.canonical.channels_last import channels_last
from tvmcomp.passes.canonical.constant_division import constant_division
from tvmcomp.passes.canonical.fold_scale import fold_scale
from tvmcomp.passes.canonical.fuse_normalization import fuse_normalization
from tvmcomp.passes.canonical.one_pixel_wide import one_pixel_wide
from tvmcomp.passes.canonical.reached_taps import reached_taps
from tvmcomp.passes.canonical.zero_factor import zero_factor
from tvmcomp.passes.elementwise import ELEMENT_WISE_KERNEL, EPILOGUE_KERNEL
from tvmcomp.passes.integers.qdq import has_qdq
from tvmcomp.passes.integers.realize import realize
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
from tvmcomp.passes.lowering.sparse_form import Race, SparseDecision, SparseForms
from tvmcomp.passes.lowering.store_bfloat16 import import_into_kernels, store_bfloat16
from tvmcomp.passes.phase import Pass, Phase, Watch
from tvmcomp.passes.properties import (
    convolutions_channels_last,
    kernels_scheduled,
    only_kernels,
)
from tvmcomp.passes.rewriter import CALLS, op_name
from tvmcomp.passes.scheduled.expand_loops import expand_loops
from tvmcomp.passes.scheduled.halo import write_halos
from tvmcomp.passes.scheduled.in_place import move_in_place
from tvmcomp.passes.scheduled.schedule import SCHEDULED_AS, Tuned, schedule_module, scheduled_as
from tvmcomp.passes.scheduled.unaligned_inputs import unaligned_inputs
from tvmcomp.schedules.bfloat16 import has_bfloat16
from tvmcomp.schedules.conv.padding import PADDING
from tvmcomp.schedules.op_pattern import OpPattern
from tvmcomp.schedules.rows.moves import JOIN, PART
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module, PrimFunc

relax = tvm.relax
_PATTERNS = {ELEMENT_WISE_KERNEL: OpPattern.ELEMENT_WISE, EPILOGUE_KERNEL: OpPattern.OUT_FUSABLE}


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
        "mark_patterns": _mark_patterns,
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


@dataclass(frozen=True)
class Lowered:
    """A scheduled module, ready for code generation.

    Attributes:
        mod: Relax ``main`` over scheduled PrimFuncs; ``main`` takes the inputs, then the constants.
            Loops are functions of Relax's virtual machine.
        looped: the same with loops as operators, whose bodies are functions.
        constants: what to pass for the constants, in order.
        tasks: the fused PrimFuncs before scheduling, by name: what the tuner works on.
        calls: how often an inference runs each of those; padding that a producer writes is not run.
        sources: what each of them computes, see :func:`kernel_sources`.
        unaligned_inputs: the inputs may lie at any address that suits their elements.
        scheduled: ``mod`` before the passes that change scheduled kernels.
        target: the device.
        sparse: what was decided for weights with zeros in them.
        computed: what each call of the kernels of ``mod`` computes, see :func:`call_sources`.
    """

    mod: Module
    looped: Module
    constants: list[np.ndarray]
    tasks: dict[str, Any]
    calls: dict[str, int]
    sources: dict[str, frozenset[str]]
    unaligned_inputs: bool
    scheduled: Any
    target: TargetDescription
    sparse: tuple[SparseDecision, ...] = ()
    computed: CallSources = field(default_factory=dict)

    @property
    def in_integers(self) -> bool:
        """Whether it multiplies 8-bit integers."""
        return any(constant.dtype == np.int8 for constant in self.constants)

    def tasks_of_kernels(self) -> dict[str, str]:
        """Kernel of ``mod`` -> the task that it was scheduled as."""
        return _tasks_of_kernels(self.mod)

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
        inputs = len(mod["main"].params) - len(self.constants)
        mod, _ = _finish(mod, inputs, self.target)
        return tvm.IRModule(
            {
                var: func.with_attr("global_symbol", var.name_hint)
                for var, func in mod.functions.items()
                if _is_scheduled(func) and func.attrs[SCHEDULED_AS] in schedules
            }
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


@dataclass(frozen=True)
class LoweredOperators:
    """A module after the first half of :func:`lower`: nothing depends on what the weights hold.

    Attributes:
        mod: Relax whose ``main`` takes the inputs, then the constants.
        constants: what to pass for the constants, in order.
        in_bfloat16: tensors between kernels are to be stored so.
        sparse: what was decided for weights with zeros in them.
    """

    mod: Module
    constants: list[np.ndarray]
    in_bfloat16: bool
    sparse: tuple[SparseDecision, ...]


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
    mod, constants = operators.mod, operators.constants
    sources: dict[str, frozenset[str]] = {}
    computed: CallSources = {}
    with tvm.target.Target(target.tvm_target_dict()):
        mod = _fusion(target, operators.in_bfloat16, sources, computed).run(mod, watch)
    tasks = {
        str(var.name_hint): func  # TVM's own kind of string can't be written as JSON
        for var, func in mod.functions.items()
        if isinstance(func, tvm.tirx.PrimFunc)
    }
    calls = call_counts(mod)
    scheduled = _scheduling(target, tuned).run(mod, watch)
    mod, anywhere = scheduled, False
    if target.family != "cuda":
        inputs = len(scheduled["main"].params) - len(constants)
        mod, anywhere = _finish(scheduled, inputs, target, watch)
    kept = call_counts(mod)
    expanded = expand_loops(mod, target)
    calls = {name: n for name, n in calls.items() if name in kept or not is_move(tasks[name])}
    return Lowered(
        expanded,
        mod,
        constants,
        tasks,
        calls,
        sources,
        anywhere,
        scheduled,
        target,
        operators.sparse,
        in_order_of(computed, mod, _tasks_of_kernels(mod)),
    )


def _finish(
    mod: Module, inputs: int, target: TargetDescription, watch: Watch | None = None
) -> tuple[Any, bool]:
    """The passes over scheduled kernels, under a ``main`` that takes so many inputs.

    Returns:
        The module, and whether its inputs may lie at any address.
    """
    anywhere: list[bool] = []

    def unalign(mod: Module) -> Module:
        for body in loop_bodies(mod):
            view = as_main(mod, body)
            given = len(view["main"].params) - int(view["main"].attrs[LOOP_BODY])
            mod = body_of(unaligned_inputs(view, given)[0], body)
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


def _tasks_of_kernels(mod: Module) -> dict[str, str]:
    return {
        str(var.name_hint): str(func.attrs[SCHEDULED_AS])
        for var, func in mod.functions.items()
        if _is_scheduled(func)
    }


def _is_scheduled(func: PrimFunc) -> bool:
    return isinstance(func, tvm.tirx.PrimFunc) and bool(func.attrs and func.attrs.get(SCHEDULED_AS))


def is_move(func: PrimFunc) -> bool:
    """Whether a PrimFunc only moves its inputs: into a border or a join, or out of a whole."""
    attributes = set(func.attrs.keys()) if func.attrs else set()
    return not attributes.isdisjoint((PADDING, JOIN, PART))


def _mark_patterns(mod: Module) -> Module:
    """Tell fusion what kernels of ours can be fused with: its own analysis does not see it."""
    for var, func in mod.functions.items():
        for mark, pattern in _PATTERNS.items():
            if func.attrs and mark in func.attrs.keys():  # noqa: SIM118  not a dict
                mod.update_func(var, func.with_attr("op_pattern", int(pattern)))
    return mod


def call_counts(mod: Module) -> dict[str, int]:
    """How often an inference calls each PrimFunc, by name; see :func:`trips_of_bodies`."""
    counts: dict[str, int] = {}
    for func, times in (("main", 1), *trips_of_bodies(mod).items()):
        for binding in (each for block in mod[func].body.blocks for each in block.bindings):
            if op_name(binding.value) in CALLS:
                name = str(binding.value.args[0].name_hint)  # not TVM's own kind of string
                counts[name] = counts.get(name, 0) + times
    return counts
