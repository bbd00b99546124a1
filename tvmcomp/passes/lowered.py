"""What lowering makes: a network of scheduled kernels, with all that later stages ask of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tvmcomp.passes.lowering.call_sources import CallSources
from tvmcomp.passes.lowering.sparse_form import SparseDecision
from tvmcomp.passes.scheduled.schedule import tasks_of_kernels
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_types import Module


@dataclass(frozen=True)
class LoweredOperators:
    """A module after the first half of lowering: nothing depends on what the weights hold.

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
        sources: what each of them computes, see :mod:`.lowering.kernel_sources`.
        unaligned_inputs: the inputs may lie at any address that suits their elements.
        scheduled: ``mod`` before the passes that change scheduled kernels.
        target: the device.
        sparse: what was decided for weights with zeros in them.
        computed: what each call of the kernels of ``mod`` computes, see
            :mod:`.lowering.call_sources`.
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
        return tasks_of_kernels(self.mod)
