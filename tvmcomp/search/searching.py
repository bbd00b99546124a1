"""The course of a search: tables, whole networks, tables corrected by them, training, judgement."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from tvmcomp.search.candidate import INT8, ORIGINAL, Candidate, of_choice
from tvmcomp.search.events import Event, Found, Said
from tvmcomp.search.folder import FRONT, TABLE
from tvmcomp.search.found_so_far import front_of
from tvmcomp.search.goals import Goals, shown
from tvmcomp.search.learning import Learning
from tvmcomp.search.making import Maker
from tvmcomp.search.measured_tables import Measured, measure_tables, table_document
from tvmcomp.search.outcome import Front, settled
from tvmcomp.search.points import Point, Predicted, preferred, with_front
from tvmcomp.search.proposals import Predictions, least_figures, proposals

#: Of the budget, when each of these ends: techniques alone, timing operators, and networks that are
#: not trained; the rest is for training and judging.
_SINGLES, _TABLES, _TRIED = 0.2, 0.4, 0.7
#: Networks that are trained; what they may lose before, beyond the tolerance, in points.
_TRAINED, _TO_WIN_BACK = 3, 10.0
#: Of what is left then, for training; the rest builds and judges.
_TRAINING = 0.7
#: As long as before it must last to be worth another training.
_LONGER = 2.0
#: Points that are judged beside the front's.
_JUDGED = 8
#: Points that may be lost where nobody says.
DEFAULT_TOLERANCE = 1.0


@dataclass
class Search:
    """One search.

    Attributes:
        maker: makes candidates and measures them.
        goals: what is to be reached.
        budget: seconds.
        spent: of them, before this run.
        tell: is told of what is found.
        notes: what a person should know.
        command: what a person typed; empty where nobody did.
        others: what other searches of the same network and samples found.
        points: what was measured, by the candidate's id.
        slowest: what takes most time of the original, a few words each.
    """

    maker: Maker
    goals: Goals
    budget: float
    spent: float
    tell: Callable[[Event], None]
    notes: list[str] = field(default_factory=list)
    command: str = ""
    others: list[Front] = field(default_factory=list)
    points: dict[str, Point] = field(default_factory=dict)
    slowest: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._candidates: dict[str, Candidate] = {}

    @property
    def seconds(self) -> float:
        """That the search took so far, with earlier runs."""
        return self.spent + time.monotonic() - self._began

    def run(self) -> Front:
        """The front, with the best of it or what is in the way."""
        self._singles()
        measured = self._tables()
        learning = Learning(self.maker, measured.tables)
        learning.begin(self._measure(ORIGINAL), self._measure(INT8))
        self._tell_least(learning.predictions)
        self._by_layer(learning, measured)
        self._train()
        self._judge()
        return settled(self.front(), self.slowest)

    def front(self) -> Front:
        """What was found so far."""
        points = with_front([*self.points.values()])
        front = front_of(self.maker, points, self.goals, self.budget, self.seconds, self.notes)
        return msgspec.structs.replace(front, command=self.command)

    def restore(self, earlier: Front) -> None:
        """Take up the networks that an earlier run of this search measured."""
        for point in earlier.points:
            candidate = point.candidate
            if self.maker.folder.known("timed", candidate.id) is not None:
                self._measure(candidate, point.predicted)

    def _singles(self) -> None:
        """Each technique alone, at settings that are worth a try: what the joint choice has to
        beat."""
        self._measure(ORIGINAL)
        self._measure(INT8)
        self._take_up()
        alone = [Candidate("int8, 4 bits", "few bits alone", ({"name": "quantize", "bits": 4},))]
        if self.maker.times.target.bfloat16:
            alone.append(Candidate("bf16", "bf16 alone", quant="bf16"))
        for candidate in alone:
            if self.seconds < _SINGLES * self.budget:
                self._measure(candidate)

    def _take_up(self) -> None:
        """The fronts of other searches: networks that are made already."""
        for point in (p for other in self.others for p in other.points if p.on_front):
            candidate = point.candidate
            if self.seconds < _SINGLES * self.budget and self.maker.has(candidate):
                self._measure(candidate, point.predicted)

    def _tables(self) -> Measured:
        maker = self.maker
        measured = measure_tables(maker, max(5.0, _TABLES * self.budget - self.seconds))
        maker.folder.write(TABLE, table_document(measured.tables))
        for note in measured.notes:
            self._say(note)
        units = sorted(measured.tables.units, key=lambda unit: -unit.configs[0].seconds)
        self.slowest = [f"{u.name} ({1e6 * u.configs[0].seconds:.0f} us)" for u in units[:3]]
        return measured

    def _tell_least(self, predictions: Predictions) -> None:
        """Tell of goals that no choice of the tables reaches."""
        least = least_figures(predictions)
        if missed := self.goals.misses(least):
            beside = self.goals.beside(least)
            told = shown({name: beside[name] for name in missed})
            self._say(f"no choice reaches it, whatever it harms; the least is {told}")

    def _by_layer(self, learning: Learning, measured: Measured) -> None:
        """Joint choices, whole networks of them, and better tables after each."""
        predictions = learning.predictions
        at_once = proposals(predictions, self.goals, self.maker.at_once)
        for tried_before, group in enumerate(at_once):
            if tried_before and self.seconds > _TRIED * self.budget:
                return  # one is tried however short the budget is
            candidates = [
                of_choice(each.choice, measured.tables, "by layer", measured.weighted)
                for each in group
            ]
            self.maker.ahead(candidates)
            for proposal, candidate in zip(group, candidates, strict=True):
                choice, tried = proposal.choice, self.maker.tried(candidate)
                if proposal.bisection is not None:
                    proposal.bisection.learn(proposal.harm, tried.lost.drop)
                predicted = Predicted(predictions.ms(choice), predictions.file_bytes(choice))
                if tried.lost.drop <= self._tolerance + _TO_WIN_BACK:
                    learning.learn(choice, candidate, self._measure(candidate, predicted))

    def _train(self) -> None:
        """Train the networks that would be the best if they lost less."""
        best = preferred(self._untrained(), self.goals)[0]
        over = [
            point
            for point in self._untrained()
            if point.recipe
            and point.chosen_by.drop <= self._tolerance + _TO_WIN_BACK
            and (point.p50_ms < best.p50_ms or point.file_bytes < best.file_bytes or point is best)
            and point.noise > 0
        ]
        chosen = sorted(over, key=lambda point: (point.chosen_by.drop, point.p50_ms))[:_TRAINED]
        at_once = self.maker.at_once
        for start in range(0, len(chosen), at_once):
            rounds = math.ceil((len(chosen) - start) / at_once)
            seconds = _TRAINING * (self.budget - self.seconds) / rounds
            if seconds < 5:
                return
            group = [
                candidate
                for point in chosen[start : start + at_once]
                if (candidate := self._trained(self._candidates[point.id], seconds))
            ]
            self.maker.ahead(group, seconds)
            for candidate in group:
                self.maker.tried(candidate, seconds)
                self._measure(candidate)

    def _trained(self, candidate: Candidate, seconds: float) -> Candidate | None:
        """The candidate with training behind: the one that an earlier run began with; None where it
        was trained for nearly as long."""
        began = time.monotonic()
        before = [
            each.trained_seconds
            for each in self._candidates.values()
            if each.distilled and each.base == candidate.base
        ]
        key = f"{candidate.id} {len(before)}" if before else candidate.id
        known = self.maker.folder.known("distil", key)
        if known is None:
            if before and seconds < _LONGER * max(before):
                return None
            known = {"seconds": seconds}
            self.maker.folder.keep("distil", key, began, known)
        return candidate.distil(float(known["seconds"]))

    def _judge(self) -> None:
        """The front and the best, on samples that no choice used."""
        points = with_front([*self.points.values()])
        first = preferred(points, self.goals)[:_JUDGED]
        finalists = [p for p in points if p in first or p.id == ORIGINAL.id]
        for point in finalists:
            judged = self.maker.judged(self._candidates[point.id], point.p50_ms)
            self.points[point.id] = msgspec.structs.replace(point, judged=judged)
            self._write()

    def _write(self) -> None:
        self.maker.folder.write(FRONT, self.front())

    def _measure(self, candidate: Candidate, predicted: Predicted | None = None) -> Point:
        """Build and time a candidate, and tell of it."""
        if candidate.id in self.points:
            return self.points[candidate.id]
        known = self.maker.folder.known("timed", candidate.id) is not None
        point = self.maker.point(candidate, predicted)
        self.points[candidate.id] = point
        self._candidates[candidate.id] = candidate
        self._write()
        best = preferred(self.points.values(), self.goals)[0]
        self.tell(
            Found(
                candidate.name,
                candidate.origin,
                point.chosen_by.drop,
                point.p50_ms,
                point.file_bytes,
                point.peak_memory_bytes,
                best.name,
                best.chosen_by.drop,
                best.p50_ms,
                best.file_bytes,
                max(0.0, self.budget - self.seconds),
                known,
            )
        )
        return point

    def _untrained(self) -> list[Point]:
        return [point for point in self.points.values() if not point.distilled]

    @property
    def _tolerance(self) -> float:
        return DEFAULT_TOLERANCE if self.goals.max_drop is None else self.goals.max_drop

    def _say(self, note: str) -> None:
        self.notes.append(note)
        self.tell(Said(note))
