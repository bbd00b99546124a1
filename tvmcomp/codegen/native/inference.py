"""What a driver is written for: an inference of each shape, or a batch as parts of another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tvmcomp.codegen.native.plan import Plan, Tensor
from tvmcomp.codegen.native.workspace import Workspace
from tvmcomp.model import Signature, TensorSpec

#: Parts of a batch that are computed at once, at most: each needs a workspace. With more threads
#: than that, all of them compute one part after the other.
_MOST_AT_ONCE = 16


@dataclass(frozen=True)
class Inference:
    """An inference of one shape.

    Attributes:
        plan: what it does.
        workspace: where its buffers lie.
        signature: names of inputs and outputs.
        input_alignments: bytes, what each input's address must be a multiple of; another one is
            copied, where ``workspace`` has a place for it.
    """

    plan: Plan
    workspace: Workspace
    signature: Signature
    input_alignments: Sequence[int]


@dataclass(frozen=True)
class Repeated:
    """The first shape's inference, run for each part of a larger batch.

    Attributes:
        times: how many parts there are.
        signature: names of inputs and outputs.
    """

    times: int
    signature: Signature

    @property
    def at_once(self) -> int:
        """How many parts have a workspace of their own."""
        return min(self.times, _MOST_AT_ONCE)


def name_of_shape(name: str, shape: int) -> str:
    """What the network ``name`` is called in C as it is for the shape of this number."""
    return f"{name}_shape{shape}" if shape else name


def whole_of(of: Inference | Repeated, first: Inference | Repeated) -> Inference:
    """What is repeated, as what it is in all: of longer inputs and outputs."""
    assert isinstance(first, Inference)
    if isinstance(of, Inference):
        return of

    def longer(tensors: Sequence[Tensor], specs: Sequence[TensorSpec]) -> tuple[Tensor, ...]:
        pairs = zip(tensors, specs, strict=True)
        return tuple(replace(t, shape=s.shape, nbytes=t.nbytes * of.times) for t, s in pairs)

    inputs = longer(first.plan.inputs, of.signature.inputs)
    outputs = longer(first.plan.outputs, of.signature.outputs)
    plan = replace(first.plan, inputs=inputs, outputs=outputs)
    workspace = Workspace({}, first.workspace.size * of.at_once)
    return Inference(plan, workspace, of.signature, first.input_alignments)
