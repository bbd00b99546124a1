"""The sparse form of an anchor, where it is faster than the dense one: measured, or by a model.

Where code for the target runs on this machine, both kernels are compiled and run in turns, once
for each size and share of zeros. For another machine the model of
:mod:`tvmcomp.schedules.sparse.choose` decides, with a margin. Every decision is kept, for the build
report.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.passes.lowering.form import Form
from tvmcomp.passes.rewriter import const
from tvmcomp.schedules.anchor import ANCHOR, Anchor
from tvmcomp.schedules.dot import DotKernel
from tvmcomp.schedules.sparse.choose import SparseChoice, choose_sparse
from tvmcomp.schedules.sparse.conv import sparse_conv
from tvmcomp.schedules.sparse.pattern import pack_blocks
from tvmcomp.schedules.sparse.plan import SPARSE_CONV, SparsePlan
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Module, PrimFunc

relax = tvm.relax

#: Runs two modules that compute the same in turns: how many times faster the second is.
Race = Callable[[Module, Module], float]

#: What a gain must exceed: one that was measured, and one of the model.
_MEASURED_MARGIN, _MODEL_MARGIN = 1.05, 1.2
#: Under this gain by the model nothing is measured.
_HOPELESS = 0.9
#: Shares of zeros that differ by less are measured once.
_STEPS = 20
#: Lines of the build report.
_MOST_NOTES = 12


@dataclass(frozen=True)
class SparseDecision:
    """What was decided for a weight with zeros in it.

    Attributes:
        name: of the operator.
        block: output channels and input channels of a block.
        zeros: share of the weight's blocks that are zero.
        gain: how many times faster the sparse kernel is.
        measured: ``gain`` was measured on this machine, and is no model's.
        taken: the kernel is sparse.
    """

    name: str
    block: tuple[int, int]
    zeros: float
    gain: float
    measured: bool
    taken: bool


class SparseForms:
    """Gives sparse forms for ``target``; ``race`` measures where its code runs here.

    Attributes:
        decisions: what was decided, in order.
    """

    def __init__(self, target: TargetDescription, race: Race | None) -> None:
        self.target = target
        self.race = race
        self.decisions: list[SparseDecision] = []
        self._measured: dict[Any, float] = {}

    def faster(
        self, anchor: Anchor, weight: np.ndarray, kernel: DotKernel, dense: Form, name: str
    ) -> Form | None:
        """The sparse form of ``anchor`` where it is faster than the form ``dense``."""
        choice = choose_sparse(anchor, weight, kernel, self.target)
        if choice is None or choice.gain < _HOPELESS:
            return None
        form = sparse_form(weight, choice.plan)
        gain, margin = choice.gain, _MODEL_MARGIN
        if self.race is not None:
            gain, margin = self._race(self.race, choice, dense, form), _MEASURED_MARGIN
        plan = choice.plan
        decision = SparseDecision(
            name,
            (plan.width, plan.kernel.depth),
            choice.zeros,
            gain,
            self.race is not None,
            gain > margin,
        )
        self.decisions.append(decision)
        return form if decision.taken else None

    def _race(self, race: Race, choice: SparseChoice, dense: Form, sparse: Form) -> float:
        plan = choice.plan
        sizes = (plan.anchor, plan.kernel, plan.pixels, plan.vectors, plan.chains)
        key = (*sizes, int(choice.zeros * _STEPS))
        if key not in self._measured:
            modules = (alone(form, plan) for form in (dense, sparse))
            self._measured[key] = race(*modules)
        return self._measured[key]


def sparse_form(weight: np.ndarray, plan: SparsePlan) -> Form:
    """``weight [O, *1, C]`` under ``plan``."""
    anchor, kernel = plan.anchor, plan.kernel
    packed = pack_blocks(weight.reshape(len(weight), -1), kernel, plan.vectors, plan.chains)
    index, ends = const(packed.index), const(packed.ends)

    def emit(builder: Builder, data: Expr, values: Any, name: str) -> Expr:
        shape = (*anchor.lead, *anchor.output, anchor.out_channels)
        function = builder.add_func(sparse_conv(plan), name)
        arguments = [data, values, index, ends]
        return relax.call_tir(function, arguments, relax.TensorType(shape, kernel.acc))

    return Form(((0, 0),) * len(anchor.shape), packed.values, emit)


def alone(form: Form, plan: SparsePlan) -> Any:
    """A module of ``form`` only: of the data, with the form's border around it."""
    shape = [
        size + before + after
        for size, (before, after) in zip(plan.anchor.shape, form.widths, strict=True)
    ]
    builder = relax.BlockBuilder()
    data = relax.Var("data", relax.TensorType(shape, plan.kernel.data))
    with builder.function("main", [data]):
        with builder.dataflow():
            result = builder.emit(form.emit(builder, data, const(form.weight), "product"))
            output = builder.emit_output(result)
        builder.emit_func_output(output)
    return builder.get()


def sparse_notes(decisions: Sequence[SparseDecision], target: TargetDescription) -> list[str]:
    """What the build report says of ``decisions``."""
    lines = []
    for taken in (True, False):
        for decision in sorted(decisions, key=lambda each: -each.gain):
            if decision.taken == taken:
                lines.append(_line(decision, target))
    hidden = len(lines) - _MOST_NOTES
    return lines if hidden <= 0 else [*lines[:_MOST_NOTES], f"so are {hidden} more"]


def _line(decision: SparseDecision, target: TargetDescription) -> str:
    how = "measured here" if decision.measured else f"by the model of {target.name}"
    kind = "sparse" if decision.taken else "dense"
    outputs, inputs = decision.block
    return (
        f"{decision.name} is {kind}: {decision.zeros:.0%} of its {outputs}x{inputs} blocks are "
        f"zero, and without them it is {decision.gain:.2f} times as fast, {how}"
    )


def is_sparse(func: PrimFunc) -> bool:
    """Whether the unscheduled ``func`` is a kernel of a sparse form."""
    found: list[bool] = []

    def see(block: tvm.s_tir.SBlock) -> None:
        found.append(str(block.annotations.get(ANCHOR, "")) == SPARSE_CONV)

    tvm_ffi.structural_walk(func.body, (tvm.s_tir.SBlock, see))
    return any(found)
