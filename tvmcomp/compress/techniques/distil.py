"""Distillation: the original network teaches the smaller one, and labels do where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec

from tvmcomp import arguments
from tvmcomp.compress.technique import Applied, Run, Suggestion, Technique, technique

if TYPE_CHECKING:
    import onnx

_CHECKPOINT = "distil.safetensors"

Positive = Annotated[float, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class DistilOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to distil; what is None is as :class:`tvmcomp.compress.distil.DistilOptions` has it.

    Attributes:
        budget: time for this step, ``10m``; None is its share of the run's.
        steps: the most that it takes.
        batch: samples of a step.
        temperature: that scores are divided by before they are compared.
        block_weight: of what the network's blocks give, beside its outputs.
        label_weight: of labels beside what the original gives, from 0 to 1.
        augment: whether samples are changed, in ways that the original does not mind.
    """

    budget: str | None = None
    steps: Annotated[int, msgspec.Meta(ge=1)] | None = None
    batch: Annotated[int, msgspec.Meta(ge=1)] | None = None
    temperature: Positive | None = None
    block_weight: Annotated[float, msgspec.Meta(ge=0)] | None = None
    label_weight: Share | None = None
    augment: bool | None = None

    def __post_init__(self) -> None:
        if self.budget is not None:
            arguments.duration(self.budget, "budget")


@technique("distil", place=90, repeats=True)
class Distil:
    """Train all weights, scales and zero points to give what the original gives.

    See :func:`tvmcomp.compress.distil.distil`.
    """

    Options = DistilOptions
    chosen_by = ("distil",)
    summary = "Train the smaller network to give what the original gives; needs no labels."
    on_command_line = ("distil",)

    def __init__(self, options: DistilOptions) -> None:
        self.options = options

    def refuses(self, model: onnx.ModelProto, run: Run, before: Sequence[Technique]) -> str | None:
        """See :class:`tvmcomp.compress.technique.Technique`."""
        if run.parts.fit_labels is None and all(step.repeats for step in before):
            return (
                "nothing before it changes the network, so there is nothing to learn back from "
                "the original; add what makes it smaller (--bits 4), or labels to learn from "
                "(--labels)"
            )
        return None

    @classmethod
    def suggests(cls, model: onnx.ModelProto) -> list[Suggestion]:
        """See :class:`tvmcomp.compress.technique.Technique`."""
        from tvmcomp.compress.network import TrainableNetwork

        network = TrainableNetwork(model)
        if not network.weights():
            return []
        why = "learns back what those lose, from samples without labels, in --budget"
        if network.without_gradient:
            why += f"; no gradient flows through {len(network.without_gradient)} operators"
        return [Suggestion("--distil, beside one of these", why)]

    def apply(self, model: onnx.ModelProto, run: Run) -> Applied:
        """See :class:`tvmcomp.compress.technique.Technique`."""
        from tvmcomp.compress import distil

        given = msgspec.structs.asdict(self.options)
        budget = given.pop("budget")
        options = distil.DistilOptions(
            budget=run.seconds if budget is None else arguments.duration(budget, "budget"),
            seed=run.seed,
            **{name: value for name, value in given.items() if value is not None},
        )
        checkpoint = None if run.folder is None else run.folder / _CHECKPOINT
        made = distil.distil(model, run.teacher, run.parts, options, run.progress, checkpoint)
        if made.interrupted:  # The same run goes on from the checkpoint.
            raise KeyboardInterrupt
        notes = list(made.notes)
        if made.start is not None:
            notes.append(
                f"{made.start} on watched samples before, {made.best} after {made.steps} steps"
            )
        return Applied(made.model, tuple(notes))
