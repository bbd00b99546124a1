"""A second search on the same device beside the first: how long each takes to the first's front.

Both have the same network, samples and budget, and a folder each; no search was before. The first
has its front when the last network of it was measured; the second, when for each of these it has
one that loses no more and is neither slower nor larger by more than can be told apart.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.search.searched_case import SearchedCase, load
from tvmcomp.search.events import Event, Found
from tvmcomp.search.outcome import Front
from tvmcomp.search.search import search

#: What is told from chance: of latency and size.
_SAME = 0.02
_Figures = tuple[float, float, float]


@dataclass
class _Course:
    """What a search found, and when.

    Attributes:
        began: by ``time.monotonic()``.
        found: seconds, and the figures of a network.
    """

    began: float = field(default_factory=time.monotonic)
    found: list[tuple[float, _Figures]] = field(default_factory=list)

    def tell(self, event: Event) -> None:
        """Take in what a search tells."""
        if isinstance(event, Found):
            figures = (event.drop, event.p50_ms, float(event.file_bytes))
            self.found.append((time.monotonic() - self.began, figures))

    def seconds_to(self, front: Sequence[_Figures]) -> float:
        """Until every network of a front was found, or a better one; infinite where one was not."""
        return max(
            min((at for at, own in self.found if _holds(own, wanted)), default=float("inf"))
            for wanted in front
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--budget", default="5m", help="of each search [%(default)s]")
    parser.add_argument("--limit", type=int, metavar="N", help="at most N samples to judge")
    parser.add_argument("--folder", type=Path, default=Path("again"), help="[%(default)s]")


def run(args: argparse.Namespace) -> int:
    """Print a row for each network."""
    for name in args.names:
        folder: Path = args.folder / name
        os.environ["XDG_DATA_HOME"] = str((folder / "data").resolve())  # nothing is known yet
        case = load(name, args.limit)
        (first, front), (second, _) = (
            _searched(case, folder / which, args.budget) for which in ("first", "second")
        )
        wanted = [
            (point.chosen_by.drop, point.p50_ms, float(point.file_bytes))
            for point in front.points
            if point.on_front
        ]
        before, after = first.seconds_to(wanted), second.seconds_to(wanted)
        print(
            f"{name}: {len(wanted)} networks on the front after {before:.0f} s, in the second "
            f"search after {after:.0f} s: {after / before:.2f} of the time",
            flush=True,
        )
    return 0


def _searched(case: SearchedCase, folder: Path, budget: str) -> tuple[_Course, Front]:
    course = _Course()
    options: dict[str, Any] = {"eval": case.evaluation, "shapes": case.shapes, "seed": 0}
    front = search(case.model, folder, case.calibration, budget=budget, tell=course.tell, **options)
    return course, front


def _holds(own: _Figures, wanted: _Figures) -> bool:
    lost, ms, size = wanted
    return own[0] <= lost and own[1] <= (1 + _SAME) * ms and own[2] <= (1 + _SAME) * size
