"""How much of the CPUs' time went elsewhere while something was measured."""

from __future__ import annotations

import os
from pathlib import Path

#: Columns of /proc/stat's first line.
_IDLE, _WAITING, _GUEST = 3, 4, 8


class Disturbance:
    """Counts from its creation on. Other programs' time counts, and what the hypervisor took."""

    def __init__(self) -> None:
        self._busy, self._total = _ticks()

    def share(self, measured_seconds: float) -> float:
        """The share of all CPUs' time so far that was neither idle nor one of the
        `measured_seconds` of CPU time.
        """
        busy, total = _ticks()
        ours = measured_seconds * os.sysconf("SC_CLK_TCK")
        return max(0.0, busy - self._busy - ours) / max(1, total - self._total)


def _ticks() -> tuple[int, int]:
    """Busy and all ticks of all CPUs since the machine started."""
    line = Path("/proc/stat").read_text().partition("\n")[0]
    columns = [int(word) for word in line.split()[1:]][:_GUEST]  # a guest's are in the user's too
    total = sum(columns)
    return total - columns[_IDLE] - columns[_WAITING], total
