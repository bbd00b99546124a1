"""A search's folder as a report reads it: ``search.json``, which ``tvmcomp search`` keeps there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tvmcomp.errors import ArtifactError
from tvmcomp.report.html.document import Candidate, Fact, Front, Goals

FILE = "search.json"
#: A thousand candidates take one of these.
_MOST_BYTES = 64 << 20


class Metric(msgspec.Struct, frozen=True):
    """What candidates are scored by, on how many samples."""

    name: str
    unit: str = "%"
    samples: int = 0


class SearchFile(msgspec.Struct, frozen=True, kw_only=True):
    """``search.json``; fields that a report doesn't know are left.

    Attributes:
        version: of this form.
        summary: what came of the search, in a sentence.
        finished: False while it runs, and where it was stopped.
        commands: command lines that make it again.
        seconds: that it took.
    """

    version: int
    model: str
    target: str
    device: str = "this machine"
    metric: Metric
    goals: Goals = Goals()
    original: Candidate | None = None
    candidates: tuple[Candidate, ...] = ()
    chosen: str | None = None
    finished: bool = False
    summary: str = ""
    commands: tuple[str, ...] = ()
    seconds: float = 0.0
    versions: dict[str, Any] = {}
    fingerprint: dict[str, Any] = {}

    def front(self) -> Front:
        """What the page draws."""
        return Front(
            metric=self.metric.name,
            unit=self.metric.unit,
            goals=self.goals,
            original=self.original,
            candidates=self.candidates,
            chosen=self.chosen,
            techniques=tuple(sorted({each.technique for each in self.candidates})),
        )

    def facts(self) -> list[Fact]:
        """Where and how it was searched."""
        versions = ", ".join(f"{name} {value}" for name, value in self.versions.items())
        machine = ", ".join(f"{name} {value}" for name, value in self.fingerprint.items())
        pairs = (
            ("Searched on", self.device),
            ("That device", machine),
            ("Searched with", versions),
            ("The search took", f"{self.seconds / 60:.0f} minutes"),
            ("Candidates", f"{len(self.candidates)}, scored on {self.metric.samples} samples"),
        )
        return [Fact(name, value) for name, value in pairs if value]


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
    return found


def chosen_artifact(search: SearchFile, folder: Path) -> Path | None:
    """The file of the candidate that was chosen, where it lies in the folder."""
    for each in search.candidates:
        if each.name == search.chosen and each.artifact:
            path = (folder / each.artifact).resolve()
            if path.is_relative_to(folder.resolve()) and path.is_file():
                return path
    return None
