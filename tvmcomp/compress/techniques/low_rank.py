"""Low rank: weights as products of smaller ones, where that is faster on the target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec

from tvmcomp.compress.technique import Applied, Run, Suggestion, Technique, technique

if TYPE_CHECKING:
    import onnx


class RankRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the operators that a pattern matches are factored.

    Attributes:
        rank: of the factors, be they faster or not.
        keep: leave them as they are.
    """

    rank: Annotated[int, msgspec.Meta(ge=1)] | None = None
    keep: bool = False

    def __post_init__(self) -> None:
        if self.keep == (self.rank is not None):
            raise ValueError("give a rank, or keep = true")


class LowRankOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far ranks go. A pattern is a node's name, its operator (``Conv``) or a glob of either.

    Attributes:
        faster: how many times as fast the network is to be; what that costs is not asked.
        drop: in place of ``faster``: points that may be lost on the watched samples; None is this
            step's share of what the run may lose.
        operators: rules, pattern to settings.
        only: operators without a rule stay as they are.
    """

    faster: Annotated[float, msgspec.Meta(gt=1)] | None = None
    drop: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None
    operators: dict[str, RankRule] = {}
    only: bool = False

    def __post_init__(self) -> None:
        if self.faster is not None and self.drop is not None:
            raise ValueError("faster and drop are two goals; give one")


@technique("low_rank", place=30, goals=("faster", "drop", "only"))
class LowRank:
    """Factors that lose least on the samples, taken only where they are faster on the target.

    See :func:`tvmcomp.compress.low_rank.factorize`.
    """

    Options = LowRankOptions
    chosen_by = ("low_rank",)
    summary = "Write weights as products of smaller ones, where that is faster on the target."
    on_command_line = ("low_rank",)

    def __init__(self, options: LowRankOptions) -> None:
        self.options = options

    def refuses(self, model: onnx.ModelProto, run: Run, before: Sequence[Technique]) -> str | None:
        """See :class:`tvmcomp.compress.technique.Technique`."""
        return _refusal(model)

    @classmethod
    def suggests(cls, model: onnx.ModelProto) -> list[Suggestion]:
        """See :class:`tvmcomp.compress.technique.Technique`."""
        if _refusal(model):
            return []
        why = "lower ranks of products and convolutions, where they are faster; wide ones gain"
        return [Suggestion("--low-rank", why)]

    def apply(self, model: onnx.ModelProto, run: Run) -> Applied:
        """See :class:`tvmcomp.compress.technique.Technique`."""
        from tvmcomp.compress.low_rank import LowRankSettings, factorize

        options = self.options
        made = factorize(
            model,
            run.lost,
            run.parts,
            LowRankSettings(
                drop=run.max_drop if options.drop is None else options.drop,
                faster=options.faster,
                ranks={p: r.rank for p, r in options.operators.items() if r.rank is not None},
                kept=tuple(p for p, r in options.operators.items() if r.keep),
                only=options.only,
            ),
            run.times,
            run.compute,
            run.progress,
        )
        return Applied(made.model, made.notes)


def _refusal(model: onnx.ModelProto) -> str | None:
    from tvmcomp.compress.fake_quantize.graph import is_quantized
    from tvmcomp.compress.fake_quantize.plan import plan_model

    if is_quantized(model):
        return "the network is quantized already: factor the float one"
    if not plan_model(model).weights:
        return "the network has no weights that an operator multiplies by"
    return None
