"""The fastest formats of a network among those that the guard allows: what a build asks for.

    int8 ----+--> times in turns, by kernel --> the cheapest mixture --> times in turns
    float32 -+                                                                |
    bfloat16 (where the target has it)          the fastest of all three, or four

Times come from the log where it has them, else they are taken where the target's code runs, and
written there; for a target that is not at hand a model stands in.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import msgspec
import numpy as np

from tvmcomp.arguments import Formats
from tvmcomp.codegen.compile import Library
from tvmcomp.formats.attribute import kernel_calls, seconds_of_segments
from tvmcomp.formats.choose import (
    FormatCosts,
    cheapest_by_model,
    cheapest_mixture,
    fastest,
    worth_building,
)
from tvmcomp.formats.comparison import Clock
from tvmcomp.formats.model import change_seconds, modelled_costs
from tvmcomp.formats.segments import Segments, segments_of
from tvmcomp.formats.variants import Variant, Workshop
from tvmcomp.formats.words import Figures, note_of, reasons_of
from tvmcomp.progress import Progress
from tvmcomp.quantize.choice import InFloat, PrecisionChoice
from tvmcomp.schedules.bfloat16 import has_bfloat16
from tvmcomp.tuning.log.record import Comparison, Timing
from tvmcomp.tuning.used_records import UsedRecords


@dataclass(frozen=True)
class Chosen:
    """What is built.

    Attributes:
        choice: the network in its formats.
        library: it compiled, where that was done to time it.
        used: the tuning records in ``library``.
    """

    choice: PrecisionChoice
    library: Library | None = None
    used: UsedRecords | None = None


def fastest_formats(
    choice: PrecisionChoice,
    workshop: Workshop,
    formats: Formats,
    device: str | None,
    inputs: Mapping[str, np.ndarray],
    progress: Progress,
    runner: str | None = None,
) -> Chosen:
    """Let operators of ``choice`` run in float32 where that is faster.

    Args:
        choice: what was asked for, as far as the guard allows.
        workshop: compiles.
        formats: whether to look for faster ones, and whether to measure.
        device: where to measure; None for this machine.
        inputs: of the network, by name.
        progress: is told of the stage.
        runner: what is put before programs on a ``device`` with a shell.

    Raises:
        DeviceError: the device failed.
        ToolError: a tool of the build failed.
    """
    network = choice.in_float
    if formats == "asked" or network is None or workshop.target.family == "cuda":
        return Chosen(choice)
    parts = segments_of(network.mod)
    # An embedding in int8 is float32 all the same, and saves memory.
    in_integers = {op.name for op in choice.operators if op.dtype == "int8" and op.kind != "take"}
    fixed = frozenset(i for i, ops in enumerate(parts.operators) if in_integers.isdisjoint(ops))
    if len(fixed) == len(parts.operators):
        return Chosen(choice)
    progress.stage("choosing formats")
    clock = Clock(workshop, device, runner, inputs, measures=formats == "fastest")
    search = _Search(choice, network, workshop, clock, parts, fixed, in_integers)
    return search.by_clock() or search.by_model()


@dataclass(frozen=True)
class _Search:
    choice: PrecisionChoice
    network: InFloat
    workshop: Workshop
    clock: Clock
    parts: Segments
    fixed: frozenset[int]
    in_integers: Collection[str]

    def by_clock(self) -> Chosen | None:
        """By times that were taken; None where there are none."""
        asked = self.workshop.lowered("int8", self.choice)
        every = frozenset(range(len(self.parts.operators))) - self.fixed
        other = self.workshop.lowered("float32", self.in_float(every))
        wholes = [asked, other, *self._in_bfloat16(other.choice)]
        whole = self.clock.compare(wholes, by_call=True)
        if whole is None:
            return None
        by_segment = [
            seconds_of_segments(self.parts, kernel_calls(variant.lowered), _in_whole(timing))
            for variant, timing in zip((asked, other), whole.networks[:2], strict=True)
        ]
        borders = {
            pair: change_seconds(numbers, self.workshop.target)
            for pair, numbers in self.parts.borders.items()
        }
        costs = FormatCosts(by_segment[0], by_segment[1], borders, self.fixed)
        run_secs = [timing.run_secs for timing in whole.networks]
        best = wholes[fastest(run_secs)]
        if best.choice.half and not self._allows(best := self._judged(best)):
            best = wholes[fastest(run_secs[:2])]
        moved = frozenset() if best is asked else every
        times = {timing.format: median(timing.run_secs) for timing in whole.networks}
        mixture = cheapest_mixture(costs)
        if worth_building(costs, mixture):
            mixed = self.workshop.lowered("mixed", self.in_float(mixture))
            beside = self.clock.compare([best, mixed], by_call=False)
            if beside is not None:
                times |= _scaled(beside, times[best.format])
                allowed = self._allows(mixed)
                if allowed and fastest([timing.run_secs for timing in beside.networks]):
                    best, moved = mixed, mixture
        figures = Figures(best.format, times, costs, whole.device.cpu, whole.date)
        return self._finished(best, moved, figures)

    def by_model(self) -> Chosen:
        """By the model of the target."""
        costs = modelled_costs(self.network.mod, self.parts, self.fixed, self.workshop.target)
        moved = cheapest_by_model(costs)
        choice = self.in_float(moved) if moved else self.choice
        name = "mixed" if moved else "int8"
        name = "float32" if moved == costs.all else name
        return Chosen(self._told(choice, moved, Figures(name, {}, costs)))

    def in_float(self, moved: frozenset[int]) -> PrecisionChoice:
        """The network with these segments in float."""
        return self.network.choice(dict.fromkeys(self._names(moved), "faster in float32"))

    def _in_bfloat16(self, in_float: PrecisionChoice) -> list[Variant]:
        """The whole network in bfloat16, as the one in float32 is; none where the target can't."""
        if not has_bfloat16(self.workshop.target):
            return []
        operators = [
            msgspec.structs.replace(operator, dtype="bfloat16") if operator.macs else operator
            for operator in in_float.operators
        ]
        decisions = in_float.decisions and replace(
            in_float.decisions,
            keep_float=(),
            weight_only=(),
            faster=dict.fromkeys((operator.name for operator in operators), "in bfloat16"),
        )
        choice = replace(
            in_float,
            mod=self.network.mod,
            operators=operators,
            half="bfloat16",
            decisions=decisions,
        )
        return [self.workshop.lowered("bfloat16", choice)]

    def _judged(self, variant: Variant) -> Variant:
        """``variant`` with the noise of its outputs on the samples that the guard judges by."""
        ratio = None
        if self.clock.can_run:
            ratio = self.network.judged_db(partial(self.clock.outputs, variant))
        if ratio is None:
            ratio = -math.inf
        calibration = {**variant.choice.calibration, "sqnr_db": ratio}
        return replace(variant, choice=replace(variant.choice, calibration=calibration))

    def _allows(self, variant: Variant) -> bool:
        """Whether the guard would: noise doesn't simply add up, so less of it may be more."""
        asked, found = self.choice.calibration, variant.choice.calibration["sqnr_db"]
        least = asked["min_sqnr_db"]
        return bool(found >= min(least or -math.inf, asked["sqnr_db"]))

    def _names(self, segments: Collection[int]) -> list[str]:
        names = (name for i in sorted(segments) for name in self.parts.operators[i])
        return [name for name in names if name in self.in_integers]

    def _finished(self, best: Variant, moved: frozenset[int], figures: Figures) -> Chosen:
        choice = self._told(best.choice, moved, figures)
        return Chosen(choice, self.workshop.compiled(best), best.used)

    def _told(
        self, choice: PrecisionChoice, moved: frozenset[int], figures: Figures
    ) -> PrecisionChoice:
        """``choice``, with the figures that decided in its report."""
        reasons = reasons_of(self.parts, moved, figures)
        operators = [
            msgspec.structs.replace(operator, reason=reasons[operator.name])
            if operator.name in reasons and operator.name in self.in_integers
            else operator
            for operator in choice.operators
        ]
        problem = self.clock.problem
        notes = [*choice.notes, note_of(self.parts, moved, figures, self.workshop.target)]
        if problem:
            notes.append(f"formats: what was measured is not kept: {problem}")
        return replace(
            choice,
            operators=operators,
            calibration={**choice.calibration, "formats": figures.document(self.parts, moved)},
            notes=notes,
        )


def _in_whole(timing: Timing) -> list[float]:
    """The times of calls, made to add up to the whole: to look at the clock takes some."""
    factor = median(timing.run_secs) / (sum(timing.call_secs) or 1.0)
    return [factor * seconds for seconds in timing.call_secs]


def _scaled(beside: Comparison, best: float) -> dict[str, float]:
    """The mixture's time, against what the best whole network took in its own comparison: the
    machine may have been slower now."""
    whole, mixed = beside.networks
    return {mixed.format: best * median(mixed.run_secs) / median(whole.run_secs)}
