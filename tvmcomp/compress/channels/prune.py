"""Fewer channels: chosen by harm and time, cut out, mended, and the time that is claimed measured.

groups -> importance -> costs -> fewer and fewer channels -> the first that are fast enough,
or the last that lose no more than they may -> least squares
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from tvmcomp.compress.channels.choice import Widths
from tvmcomp.compress.channels.cost import Meter
from tvmcomp.compress.channels.cut import cut
from tvmcomp.compress.channels.groups import fixed_channels
from tvmcomp.compress.channels.repair import repaired
from tvmcomp.compress.channels.study import Study, study
from tvmcomp.compress.cost import Compute, OperatorTimes
from tvmcomp.compress.cost.arithmetic import multiply_adds
from tvmcomp.compress.fake_quantize.patterns import matched
from tvmcomp.compress.samples import Parts
from tvmcomp.progress import Progress

#: Speedups that are tried in turn where points decide, and told of where too many are lost.
_RUNGS = (1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
#: Networks that are built and measured on the way to a speedup.
_MOST_BUILT = 6
#: Groups, and reasons, that notes name.
_NAMED = 4


@dataclass(frozen=True)
class PruneSettings:
    """What is to be reached: one of the first two, or as much as ``drop`` allows.

    Attributes:
        speedup: how many times as fast.
        macs: share of the multiply-accumulates that is left, at most.
        drop: points that may be lost on the watched samples, before anything is trained. With
            another goal, what smaller ones lose is told where more is lost.
        keep: patterns of operators that lose no channels.
    """

    speedup: float | None
    macs: float | None
    drop: float
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pruned:
    """A network with fewer channels.

    Attributes:
        model: it.
        notes: what was done and what could not be.
    """

    model: onnx.ModelProto
    notes: tuple[str, ...]


def prune(
    model: onnx.ModelProto,
    lost: Callable[[onnx.ModelProto], float],
    parts: Parts,
    settings: PruneSettings,
    times: OperatorTimes,
    compute: Compute,
    seed: int,
    progress: Progress,
    folder: Path | None = None,
) -> Pruned:
    """A copy of ``model`` with fewer channels.

    Args:
        model: a prepared graph in float.
        lost: points that a network loses on the watched samples.
        parts: samples.
        settings: the goal.
        times: what small models take on the target.
        compute: what the finished network's products are computed in.
        seed: of what is drawn.
        progress: is told of each stage.
        folder: keeps what channels are worth; None keeps nothing.

    Raises:
        ConfigError: a pattern matches nothing.
        TvmcompError: torch can't compute the network, or it can't be built.
    """
    return _Pruning(model, lost, parts, settings, times, compute, seed, progress, folder).done()


@dataclass(frozen=True)
class _Tried:
    """A network with fewer channels, mended, and what it loses on the watched samples."""

    widths: Widths
    model: onnx.ModelProto
    loss: float


class _Pruning:
    def __init__(
        self,
        model: onnx.ModelProto,
        lost: Callable[[onnx.ModelProto], float],
        parts: Parts,
        settings: PruneSettings,
        times: OperatorTimes,
        compute: Compute,
        seed: int,
        progress: Progress,
        folder: Path | None,
    ) -> None:
        self.model, self.parts, self.settings = model, parts, settings
        self.times, self.compute, self.progress = times, compute, progress
        keep = matched(settings.keep, model)
        meter: Meter = lambda models: times.in_turns(models, compute)  # noqa: E731
        if settings.macs is not None:
            meter = multiply_adds
        lanes = max(1, times.target.vector_bits // 32)
        self.study: Study = study(model, parts.fit, meter, lanes, seed, progress, folder)
        names = {g.name for g in self.study.groups.groups if keep & {*g.makers, *g.readers}}
        self.widths = list(self.study.descent(names))
        self.points = lost
        #: Classes that are removed -> how many times as fast the network then is.
        self.speedups: dict[frozenset[int], float] = {}

    def done(self) -> Pruned:
        settings = self.settings
        if settings.macs is not None:
            tried = self.tried(self.first_below(settings.macs))
        elif settings.speedup is not None:
            tried = self.tried(self.fast_enough(settings.speedup))
        else:
            return self.as_far_as_allowed()
        notes = list(self.told(tried.widths))
        if not self.reached(tried.widths):
            notes.append("that is less than was asked for, and all that channels can give")
        if tried.loss > settings.drop:
            notes.append(f"{self.lost(tried)}; smaller goals: {self.ladder(tried)}")
        return Pruned(tried.model, tuple(notes))

    def as_far_as_allowed(self) -> Pruned:
        """The last rung that loses no more than it may; evidence where there is none."""
        best: _Tried | None = None
        over: _Tried | None = None
        for widths in self.rungs():
            tried = self.tried(widths)
            if tried.loss > self.settings.drop:
                over = tried
                break
            best = tried
        notes = [] if over is None else [f"more than may be lost here: {self.lost(over)}"]
        if best is None:
            return Pruned(
                self.model, ("no channels were cut", *notes, *fixed_channels(self.study.groups))
            )
        return Pruned(best.model, (*self.told(best.widths), self.lost(best), *notes))

    def rungs(self) -> Iterator[Widths]:
        """Widths for one speedup after the other, as far as they go."""
        seen = self.widths[0]
        for speedup in _RUNGS:
            widths = self.first_below(1 / speedup)
            if widths is not seen:
                yield widths
            seen = widths

    def first_below(self, cost: float) -> Widths:
        """The widest network that costs no more; the narrowest one where none does."""
        return next((each for each in self.widths if each.cost <= cost), self.widths[-1])

    def fast_enough(self, speedup: float) -> Widths:
        """The widest network that is so fast as it is measured, by bisection; or the narrowest."""
        self.progress.stage("widths")
        low, high = 0, len(self.widths) - 1
        at = self.widths.index(self.first_below(1 / speedup))
        for _ in range(_MOST_BUILT):
            if self.speedup(self.widths[at]) >= speedup:
                high = at
            else:
                low = at
            if high - low <= 1:
                break
            at = (low + high) // 2
        return self.widths[high]

    def speedup(self, widths: Widths) -> float:
        """How many times as fast a network is with so many channels; each is timed beside the whole
        one, once."""
        if widths.removed not in self.speedups:
            smaller = cut(self.study.groups, widths.removed)
            before, after = self.times.in_turns([self.model, smaller], self.compute, again=True)
            self.speedups[widths.removed] = before / after
        return self.speedups[widths.removed]

    def reached(self, widths: Widths) -> bool:
        """Whether the goal that was given is."""
        if self.settings.macs is not None:
            return widths.cost <= self.settings.macs
        return self.speedup(widths) >= (self.settings.speedup or 1.0)

    def tried(self, widths: Widths) -> _Tried:
        self.progress.stage("least squares")
        model = repaired(self.study.groups, widths.removed, self.parts.fit)
        return _Tried(widths, model, self.points(model))

    def ladder(self, most: _Tried) -> str:
        """What is lost on the way to it, until no more is than may be."""
        found = []
        for widths in reversed(list(self.rungs())):
            if widths.cost > most.widths.cost:
                tried = self.tried(widths)
                found.append(self.lost(tried))
                if tried.loss <= self.settings.drop:
                    break
        return "; ".join(found) or "none"

    def lost(self, tried: _Tried) -> str:
        return f"{self.gain(tried.widths)} loses {tried.loss:.2f} points on watched samples"

    def gain(self, widths: Widths) -> str:
        if self.settings.macs is not None:
            return f"{100 * widths.cost:.0f}% of the multiply-accumulates"
        how = "measured" if self.times.measured else "by the model of the target"
        return f"{self.speedup(widths):.2f} times as fast ({how}, {self.compute})"

    def told(self, widths: Widths) -> Iterator[str]:
        """What is left of which group, and what can't be cut."""
        groups = self.study.groups.groups
        left = [sum(c not in widths.removed for c in group.classes) for group in groups]
        yield f"{self.gain(widths)}: {sum(left)} of {sum(len(g.classes) for g in groups)} channels"
        shares = [
            (count / len(group.classes), f"{count} of {len(group.classes)} of {group.name}")
            for count, group in zip(left, groups, strict=True)
            if count < len(group.classes)
        ]
        if shares:
            named = ", ".join(text for _, text in sorted(shares)[:_NAMED])
            yield f"fewest left: {named}"
        yield from fixed_channels(self.study.groups)
