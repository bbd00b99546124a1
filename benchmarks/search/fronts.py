"""The search's front beside each technique alone, and predicted beside measured latency.

Of each technique that is alone the settings below are made, built, timed and judged by the same
means, in the same folder. A front holds it where one of its networks loses no more by the judge and
is neither slower nor larger, and beats it where it is better in one of these by 2%. A gain without
labels to train by is chance, and none is asked of the front.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from benchmarks.search.searched_case import load
from tvmcomp.progress import NoProgress
from tvmcomp.search.candidate import Candidate
from tvmcomp.search.events import Event
from tvmcomp.search.outcome import Front
from tvmcomp.search.points import Point
from tvmcomp.search.prepare import prepared
from tvmcomp.search.search import search

#: Each technique alone, at settings of which the best is compared.
ALONE = {
    "int8 alone": [[{"name": "quantize"}]],
    "few bits alone": [[{"name": "quantize", "bits": bits}] for bits in (4, 3)],
    "channels alone": [[{"name": "prune", "macs": share}] for share in (0.8, 0.6, 0.4)],
    "low rank alone": [[{"name": "low_rank", "drop": drop}] for drop in (0.5, 2.0)],
}
#: What is told from chance: of latency and size.
_SAME = 0.02


class Row(msgspec.Struct, frozen=True):
    """A technique alone beside the front: ``best`` is the front's network that loses no more."""

    network: str
    technique: str
    setting: str
    lost: float
    p50_ms: float
    file_bytes: int
    beaten_by: str | None
    held: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--budget", default="5m", help="of each search [%(default)s]")
    parser.add_argument("--limit", type=int, metavar="N", help="at most N samples to judge")
    parser.add_argument("--folder", type=Path, default=Path("searches"), help="[%(default)s]")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print a row for each technique alone, and how far predictions were off."""
    rows: list[Row] = []
    errors: dict[str, float] = {}
    for name in args.names:
        front, alone = _searched(name, args)
        off = [abs(p.predicted.p50_ms / p.p50_ms - 1) for p in front.points if p.predicted]
        errors[name] = median(off) if off else float("nan")
        rows += [_row(name, point, front.points) for point in alone]
    if args.json:
        print(json.dumps({"rows": msgspec.to_builtins(rows), "errors": errors}, indent=2))
        return 0
    for row in rows:
        how = row.beaten_by or ("held" if row.held else "NOT held")
        print(
            f"{row.network:16} {row.technique:15} {row.setting:28} {row.lost:6.2f} points "
            f"{row.p50_ms:8.4f} ms {row.file_bytes / 1e3:8.1f} KB  {how}"
        )
    for name, error in errors.items():
        print(f"{name}: median error of predicted latency {error:.1%}")
    return 0


def _searched(name: str, args: argparse.Namespace) -> tuple[Front, list[Point]]:
    case = load(name, args.limit)
    folder = args.folder / name
    common: dict[str, Any] = {"eval": case.evaluation, "shapes": case.shapes, "seed": 0}

    def tell(event: Event) -> None:
        print(msgspec.json.encode(event).decode(), flush=True)

    front = search(case.model, folder, case.calibration, budget=args.budget, tell=tell, **common)
    maker = prepared(
        case.model, folder, case.calibration, case.evaluation, None, None, 0, "native", None,
        NoProgress(), {"shapes": case.shapes},
    )  # fmt: skip
    alone = []
    for technique, settings in ALONE.items():
        for recipe in settings:
            candidate = Candidate(json.dumps(recipe), technique, tuple(recipe))
            point = maker.point(candidate, None)
            judged = maker.judged(candidate, point.p50_ms)
            alone.append(msgspec.structs.replace(point, judged=judged))
    return front, alone


def _row(name: str, point: Point, front: Sequence[Point]) -> Row:
    own = _terms(point)
    holding = [
        p for p in front
        if p.judged and all(a <= b for a, b in zip(_terms(p), _more(own), strict=True))
    ]  # fmt: skip
    better = [
        p for p in holding
        if any(a < (1 - _SAME) * b for a, b in zip(_terms(p)[1:], own[1:], strict=True))
    ]  # fmt: skip
    lost = point.judged.drop if point.judged else float("nan")
    return Row(
        name, point.origin, json.dumps(point.recipe[0]), lost, point.p50_ms, point.file_bytes,
        better[0].name if better else None, bool(holding),
    )  # fmt: skip


def _terms(point: Point) -> tuple[float, float, float]:
    lost = point.judged or point.chosen_by
    return lost.drop, point.p50_ms, point.file_bytes


def _more(terms: tuple[float, float, float]) -> tuple[float, float, float]:
    """The same, and what can't be told from it."""
    return max(0.0, terms[0]), (1 + _SAME) * terms[1], (1 + _SAME) * terms[2]
