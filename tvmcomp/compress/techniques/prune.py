"""Pruning: channels, heads and hidden units that the outputs hardly need are cut out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec

from tvmcomp.compress.technique import Applied, Run, Suggestion, Technique, technique

if TYPE_CHECKING:
    import onnx


class PruneOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much to prune: one goal, or as much as points allow.

    Attributes:
        speedup: how many times as fast the network is to be on the target, as it is computed in
            the end: in int8 where it is quantized after this.
        macs: the share of its multiply-accumulates that may be left.
        drop: points that may be lost on the watched samples, before anything is trained; None is
            this step's share of what the run may lose.
        keep: patterns of operators whose channels stay: a node's name, its operator (``Conv``) or a
            glob of either.
        left: in place of a goal, how many channels of which operator are left.
    """

    speedup: (
        Annotated[
            float,
            msgspec.Meta(
                ge=1, le=100, description="Cut channels until it is so many times as fast."
            ),
        ]
        | None
    ) = None
    macs: (
        Annotated[
            float,
            msgspec.Meta(
                ge=0.01, le=1, description="Cut channels until so much of the arithmetic is left."
            ),
        ]
        | None
    ) = None
    drop: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None
    keep: tuple[str, ...] = ()
    left: dict[str, Annotated[int, msgspec.Meta(ge=1)]] = {}

    def __post_init__(self) -> None:
        goals = [n for n in ("speedup", "macs", "drop") if getattr(self, n) is not None]
        goals += ["left"] if self.left else []
        if len(goals) > 1:
            raise ValueError(f"{' and '.join(goals)} are two goals; give one")


@technique("prune", place=20, goals=("speedup", "macs", "drop", "left"))
class Prune:
    """Cut out what harms least for the time that it saves, and mend what read it.

    See :func:`tvmcomp.compress.channels.prune.prune`.
    """

    Options = PruneOptions
    chosen_by = ("prune", "speedup", "macs")
    summary = "Cut channels as far as --max-drop allows."
    on_command_line = ("prune", "speedup", "macs")

    def __init__(self, options: PruneOptions) -> None:
        self.options = options

    def refuses(self, model: onnx.ModelProto, run: Run, before: Sequence[Technique]) -> str | None:
        """See :class:`tvmcomp.compress.technique.Technique`."""
        return _refusal(model)

    @classmethod
    def suggests(cls, model: onnx.ModelProto) -> list[Suggestion]:
        """See :class:`tvmcomp.compress.technique.Technique`."""
        if _refusal(model):
            return []
        from tvmcomp.compress.channels.groups import find_groups

        groups = find_groups(model).groups
        channels = sum(len(group.classes) for group in groups)
        why = f"{channels:,} channels in {len(groups)} groups, of which the least needed can go"
        return [Suggestion("--speedup 1.5", f"cuts channels: {why}; measured on the target")]

    def apply(self, model: onnx.ModelProto, run: Run) -> Applied:
        """See :class:`tvmcomp.compress.technique.Technique`."""
        from tvmcomp.compress.channels.prune import PruneSettings, prune

        options, folder = self.options, run.shared or run.folder
        if options.left:
            from tvmcomp.compress.channels.named_widths import with_widths

            model = with_widths(model, run.parts.fit, options.left, run.seed, run.progress, folder)
            return Applied(model)
        made = prune(
            model,
            run.lost,
            run.parts,
            PruneSettings(
                speedup=options.speedup,
                macs=options.macs,
                drop=run.max_drop if options.drop is None else options.drop,
                keep=options.keep,
            ),
            run.times,
            run.compute,
            run.seed,
            run.progress,
            folder,
        )
        return Applied(made.model, made.notes)


def _refusal(model: onnx.ModelProto) -> str | None:
    from tvmcomp.compress.channels.groups import find_groups, fixed_channels
    from tvmcomp.compress.fake_quantize.graph import is_quantized

    if is_quantized(model):
        return "the network is quantized already: prune the float one"
    groups = find_groups(model)
    if groups.groups:
        return None
    return "; ".join(["the network has no channels that can be cut", *fixed_channels(groups)])
