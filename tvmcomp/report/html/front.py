"""A search's folder as a report reads it: ``front.json``, which ``tvmcomp search`` keeps there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from tvmcomp.errors import ArtifactError
from tvmcomp.report import texts
from tvmcomp.report.compare import Change, score_change
from tvmcomp.report.html.chosen import Table, read_table
from tvmcomp.report.html.document import Candidate, Command, Fact, Front, Goals

FILE = "front.json"
#: A thousand networks take one of these.
_MOST_BYTES = 64 << 20


class Score(msgspec.Struct, frozen=True):
    """What of a candidate's score is shown."""

    after: float
    after_low: float
    after_high: float
    drop: float
    drop_low: float
    drop_high: float
    unit: str = ""
    before: float | None = None
    samples: int = 0


class Predicted(msgspec.Struct, frozen=True):
    """What the search's tables said before it was built."""

    p50_ms: float


class Point(msgspec.Struct, frozen=True):
    """A network that was built and measured; the fields are those of ``front.json``."""

    id: str
    name: str
    origin: str = ""
    quant: str | None = None
    distilled: bool = False
    on_front: bool = False
    recipe: tuple[dict[str, Any], ...] = ()
    artifact: str | None = None
    predicted: Predicted | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    file_bytes: int | None = None
    peak_memory_bytes: int | None = None
    chosen_by: Score | None = None
    judged: Score | None = None
    commands: tuple[str, ...] = ()

    @property
    def score(self) -> Score | None:
        """By samples that no choice used, where it was judged."""
        return self.judged or self.chosen_by

    def candidate(self) -> Candidate:
        """What the page shows of it."""
        score = self.score
        steps = ", ".join(str(step.get("name", "?")) for step in self.recipe)
        decisions = [("Steps", steps)] if steps else []
        decisions += [("Learnt back", "by distillation" if self.distilled else "nothing")]
        decisions += [("Make it again", "; ".join(self.commands))] if self.commands else []
        return Candidate(
            name=self.id,
            label=self.name,
            technique=self.origin,
            predicted_ms=self.predicted.p50_ms if self.predicted else None,
            p50_ms=self.p50_ms,
            p99_ms=self.p99_ms,
            artifact_bytes=self.file_bytes,
            peak_memory_bytes=self.peak_memory_bytes,
            score=score.after if score else None,
            score_low=score.after_low if score else None,
            score_high=score.after_high if score else None,
            drop=score.drop if score else None,
            drop_low=score.drop_low if score else None,
            drop_high=score.drop_high if score else None,
            on_front=self.on_front,
            artifact=self.artifact,
            decisions=tuple(decisions),
            note="judged on samples that no choice used" if self.judged else "",
        )


class SearchFile(msgspec.Struct, frozen=True, kw_only=True):
    """``front.json``; fields that a report doesn't know are left."""

    version: int
    model: str
    target: str
    metric: str
    points: tuple[Point, ...]
    device: str | None = None
    machine: str = ""
    judged_on: str = ""
    samples: dict[str, int] = {}
    goals: Goals = Goals()
    original: str | None = None
    best: str | None = None
    nearest: str | None = None
    in_the_way: str | None = None
    finished: bool = False
    reached: bool | None = None
    spent_seconds: float = 0.0
    seed: int = 0
    versions: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    command: str = ""
    table: Table = Table()

    @property
    def chosen(self) -> Point | None:
        """The best, or the nearest to goals that were not reached."""
        return self.point(self.best or self.nearest)

    def point(self, id_: str | None) -> Point | None:
        """The network of that id."""
        return next((point for point in self.points if point.id == id_), None)

    def front(self) -> Front:
        """What the page draws."""
        original = self.point(self.original)
        others = [point for point in self.points if point is not original]
        scores = [point.score for point in self.points if point.score]
        return Front(
            metric=self.metric,
            unit=scores[0].unit if scores else "",
            goals=self.goals,
            original=original.candidate() if original else None,
            candidates=tuple(point.candidate() for point in others),
            chosen=self.chosen.id if self.chosen else None,
            techniques=tuple(sorted({point.origin for point in others})),
        )

    def sentences(self) -> Iterator[str]:
        """What came of it."""
        chosen = self.chosen
        if chosen is not None and chosen.score is not None:
            word = "The best found" if self.best else "The nearest found"
            yield (
                f"{word} is {chosen.name}: {texts.ms(chosen.p50_ms)}, "
                f"{texts.size(chosen.file_bytes)}, {chosen.score.drop:.2f} points lost (95% "
                f"confidence {chosen.score.drop_low:.2f} to {chosen.score.drop_high:.2f})."
            )
        if self.reached is not None:
            yield "All goals are reached." if self.reached else "The goals are not reached."
        if self.in_the_way:
            yield f"In the way: {self.in_the_way}."
        if not self.finished:
            yield "The search has not finished: this is what it found so far."

    def facts(self) -> Iterator[Fact]:
        """Where and how it was searched."""
        goals = msgspec.structs.asdict(self.goals)
        asked = ", ".join(f"{name} {value:g}" for name, value in goals.items() if value is not None)
        versions = ", ".join(f"{name} {value}" for name, value in self.versions.items())
        pairs = (
            ("Asked for", asked or "the front, without goals"),
            ("Searched on", self.device or self.machine),
            ("Searched with", f"{versions}; seed {self.seed}"),
            ("The search took", f"{self.spent_seconds / 60:.0f} minutes"),
            ("Candidates", str(len(self.points))),
        )
        yield from (Fact(name, value) for name, value in pairs if value)

    def sample_facts(self) -> Iterator[Fact]:
        """How it used samples."""
        counts = ", ".join(f"{count} to {name}" for name, count in self.samples.items())
        yield Fact("Of the search", f"{counts}; judged on {self.judged_on}")

    def accuracy(self) -> Iterator[Change]:
        """What was lost, by the search's own judge."""
        score = self.chosen.score if self.chosen else None
        if score is None or score.before is None:
            return
        yield score_change(
            f"{self.metric} on {score.samples} samples, by the search",
            (score.before, score.after),
            score.unit,
            -score.drop,
            (-score.drop_high, -score.drop_low),
            (score.after_low, score.after_high),
        )

    def commands(self) -> list[Command]:
        """What makes the chosen network again."""
        typed = [Command("The search was", self.command)] if self.command else []
        chosen = self.chosen
        if chosen is None:
            return typed
        purpose = f"{chosen.name}, in the search's folder:"
        return [*typed, *(Command(purpose, each) for each in chosen.commands)]


def read_search(folder: Path) -> SearchFile:
    """Read a search's folder.

    Raises:
        ArtifactError: there is no search in it, or its file can't be read.
    """
    path = folder / FILE
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ArtifactError("is too large for a search's file", where=str(path))
        found = msgspec.json.decode(path.read_bytes(), type=SearchFile)
    except OSError as error:
        raise ArtifactError(
            f"no search is in it: {error.strerror or error}",
            where=str(path),
            hint="Give a folder that `tvmcomp search` wrote, or an artifact.",
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"is no search's file: {error}", where=str(path)) from None
    return msgspec.structs.replace(found, table=read_table(folder))


def artifact_of(point: Point | None, folder: Path) -> Path | None:
    """The file of a network of the search in ``folder``, where it lies there."""
    if point is None or not point.artifact:
        return None
    path = (folder / point.artifact).resolve()
    return path if path.is_relative_to(folder.resolve()) and path.is_file() else None
