"""Pruning of weights: single ones, or the blocks that a sparse kernel leaves out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from tvmcomp.compress.technique import Applied, Run, Suggestion, Technique, is_given, technique

if TYPE_CHECKING:
    import onnx

    from tvmcomp.compress.sparsify.prunable import Prunable

Share = Annotated[float, msgspec.Meta(ge=0, lt=1)]
Steps = Annotated[int, msgspec.Meta(ge=0)]

_BLOCK = re.compile(r"([1-9]\d*)x([1-9]\d*)")


class SparsifyOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to prune. With one of the last five, sparsity rises while the network is distilled.

    Attributes:
        sparsity: share of the weights that is zero in the end.
        block: outputs by inputs, ``16x1``; None is what the target's kernel takes.
        scope: the share is of each weight, or of all together.
        keep_dense: patterns: operators that are left alone.
        power: of the polynomial by which the share rises.
        start: the share before the first update.
        begin, end: the steps of the first and the last update.
        frequency: steps from one update to the next.
        steps: of the training; None is as long as its share of the budget lasts.
    """

    sparsity: Annotated[
        float,
        msgspec.Meta(
            ge=0, lt=1, description="Make such a share of the weights zero, in blocks that a "
            "sparse kernel leaves out.",
        ),
    ] = 0.8  # fmt: skip
    block: (
        Annotated[
            str,
            msgspec.Meta(
                description="Outputs by inputs of a block, 1x1 for single weights  [default: what "
                "the target's kernel takes]."
            ),
        ]
        | None
    ) = None
    scope: Annotated[
        Literal["layer", "global"],
        msgspec.Meta(description="The share is of each layer, or of all  [default: layer]."),
    ] = "layer"
    keep_dense: tuple[str, ...] = ()
    power: Annotated[float, msgspec.Meta(gt=0)] = 3.0
    start: Share = 0.0
    begin: Steps | None = None
    end: Steps | None = None
    frequency: Annotated[int, msgspec.Meta(ge=1)] | None = None
    steps: Annotated[int, msgspec.Meta(ge=1)] | None = None

    def __post_init__(self) -> None:
        if self.block is not None and not _BLOCK.fullmatch(self.block):
            raise ValueError(f"a block is outputs x inputs, like 16x1; not {self.block!r}")
        if self.start > self.sparsity:
            raise ValueError("start is more than sparsity")
        if None not in (self.begin, self.end) and self.begin > self.end:  # type: ignore[operator]
            raise ValueError("begin is after end")


#: Options of how sparsity rises in training. Without them it does not: with the few hundred samples
#: and steps that most have, to prune at once and distil then gave more (docs/compress.md).
_RISE = ("start", "begin", "end", "frequency", "steps")


@technique("sparsify", place=40, trains=_RISE)
class Sparsify:
    """Zeros that the built network leaves out.

    What is left of each weight is fitted to samples. Where the recipe says how sparsity rises
    (``end``, ``steps``, …), it does so while the network is distilled.
    """

    Options = SparsifyOptions
    chosen_by = ("sparsity",)
    summary = ""
    on_command_line = ("sparsity", "block", "scope")

    def __init__(self, options: SparsifyOptions) -> None:
        self.options = options

    def refuses(self, model: onnx.ModelProto, run: Run, before: Sequence[Technique]) -> str | None:
        """See :class:`tvmcomp.compress.technique.Technique`."""
        from tvmcomp.compress.fake_quantize.graph import is_quantized

        if is_quantized(model):
            return "the network is quantized already"
        if not self._chosen(model, run):
            return "the network has no weights of convolutions or products that can be pruned"
        return None

    @classmethod
    def suggests(cls, model: onnx.ModelProto) -> list[Suggestion]:
        """See :class:`tvmcomp.compress.technique.Technique`."""
        from tvmcomp.compress.fake_quantize.graph import is_quantized
        from tvmcomp.compress.sparsify.prunable import prunable

        if is_quantized(model):
            return []
        found = prunable(model, (16, 4))
        fast = [each.weight.node for each in found if each.block != (1, 1)]
        if not fast:
            return []
        why = f"leaves out blocks of weights: {len(fast)} products and 1x1 convolutions run faster"
        return [Suggestion("--sparsity 0.8", why)]

    def apply(self, model: onnx.ModelProto, run: Run) -> Applied:
        """See :class:`tvmcomp.compress.technique.Technique`."""
        from tvmcomp.compress.sparsify import one_shot, shares

        options = self.options
        chosen = self._chosen(model, run)
        if is_given(options, _RISE) and (run.seconds > 0 or options.steps is not None):
            pruned = self._trained(model, run, chosen)
        else:
            same = {each.weight.tensor: options.sparsity for each in chosen}
            if options.scope == "global":
                same = shares.by_harm(model, chosen, options.sparsity, run.parts.fit)
            step = run.progress.stage("pruning weights", len(chosen))
            pruned = one_shot.prune_at_once(model, chosen, same, run.parts.fit, step)
        return Applied(pruned, tuple(_notes(pruned, chosen)))

    def _trained(
        self, model: onnx.ModelProto, run: Run, chosen: Sequence[Prunable]
    ) -> onnx.ModelProto:
        from tvmcomp.compress.distil_options import DistilOptions
        from tvmcomp.compress.sparsify.gradual import Rise, prune_gradually

        options = self.options
        rise = Rise(
            options.start,
            options.sparsity,
            options.power,
            options.begin,
            options.end,
            options.frequency,
            everywhere=options.scope == "global",
        )
        budget = run.seconds if run.seconds > 0 else None
        training = DistilOptions(budget=budget, steps=options.steps, seed=run.seed)
        return prune_gradually(model, run.teacher, chosen, rise, run.parts, training, run.progress)

    def _chosen(self, model: onnx.ModelProto, run: Run) -> list[Prunable]:
        from tvmcomp.compress.sparsify.prunable import kernel_block, prunable

        found = _BLOCK.fullmatch(self.options.block or "")
        block = kernel_block(run.times.target, integers=run.compute == "int8")
        if found is not None:
            block = int(found[1]), int(found[2])
        return prunable(model, block, self.options.keep_dense)


def _notes(model: onnx.ModelProto, chosen: Sequence[Prunable]) -> list[str]:
    """How many of which weights are zero."""
    from onnx import numpy_helper

    arrays = {t.name: t for t in model.graph.initializer}
    counts: dict[str, list[int]] = {}
    for each in chosen:
        array = numpy_helper.to_array(arrays[each.weight.tensor])
        count = counts.setdefault("x".join(map(str, each.block)), [0, 0, 0])
        for i, more in enumerate((1, int((array == 0).sum()), array.size)):
            count[i] += more
    return [
        f"{number} weights in blocks of {block}: {zeros:,} of {size:,} are zero"
        for block, (number, zeros, size) in counts.items()
    ]
