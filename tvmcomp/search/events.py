"""What a search tells while it goes on."""

from __future__ import annotations

import msgspec

from tvmcomp.report.search import figures, minutes


class Found(msgspec.Struct, frozen=True, tag="found"):
    """A network was measured.

    Attributes:
        name, origin: what it is.
        drop: points lost on samples to choose by.
        p50_ms, file_bytes, memory_bytes: on the device.
        best: the name of the best so far, and its figures.
        best_drop, best_ms, best_bytes: of it.
        left_seconds: of the budget.
        known: it was measured by an earlier run of the same search.
    """

    name: str
    origin: str
    drop: float
    p50_ms: float
    file_bytes: int
    memory_bytes: int | None
    best: str
    best_drop: float
    best_ms: float
    best_bytes: int
    left_seconds: float
    known: bool

    @property
    def text(self) -> str:
        """For a person."""
        found = f"{self.name}: {figures(self.drop, self.p50_ms, self.file_bytes)}"
        best = f"best: {self.best}, {figures(self.best_drop, self.best_ms, self.best_bytes)}"
        left = "measured before" if self.known else f"{minutes(self.left_seconds)} left"
        return f"{found}; {best}; {left}"


class Said(msgspec.Struct, frozen=True, tag="note"):
    """Something that a person should know at once."""

    text: str


Event = Found | Said
