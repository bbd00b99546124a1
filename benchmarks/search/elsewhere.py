"""A front that was searched for one target, on others: what is lost by not searching there.

The networks on the first target's front are built for the other and timed there, in turns with the
original, as are those of a search for the other. For each network on the other's own front, the
fastest of the first's is taken that loses no more, as far as the samples tell (95%): how many times
as long does it take?
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.search.searched_case import SearchedCase, load
from tvmcomp.progress import NoProgress
from tvmcomp.search.candidate import ORIGINAL
from tvmcomp.search.outcome import Front
from tvmcomp.search.points import Point
from tvmcomp.search.prepare import prepared
from tvmcomp.search.search import search
from tvmcomp.search.timing import Beside


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--budget", default="5m", help="of each search [%(default)s]")
    parser.add_argument("--limit", type=int, metavar="N", help="at most N samples to judge")
    parser.add_argument("--folder", type=Path, default=Path("elsewhere"), help="[%(default)s]")
    parser.add_argument("--target", default="native", help="searched for first [%(default)s]")
    parser.add_argument(
        "--on", nargs="+", default=["x86-64-v3"], metavar="TARGET[=DEVICE]", help="[x86-64-v3]"
    )


def run(args: argparse.Namespace) -> int:
    """Print a row for each network and other target."""
    for name in args.names:
        case, folder = load(name, args.limit), args.folder / name
        first = _searched(case, folder / args.target, args.target, None, args.budget)
        for on in args.on:
            target, _, device = on.partition("=")
            own = _searched(case, folder / target, target, device or None, args.budget)
            moved = _moved(case, folder, args.target, first, target, device or None)
            print(f"{name}: {args.target} to {on}: {_told(own, moved)}", flush=True)
    return 0


def _searched(
    case: SearchedCase, folder: Path, target: str, device: str | None, budget: str
) -> Front:
    options: dict[str, Any] = {"eval": case.evaluation, "shapes": case.shapes, "seed": 0}
    return search(
        case.model, folder, case.calibration, target=target, device=device, budget=budget, **options
    )


def _moved(
    case: SearchedCase, folder: Path, source: str, front: Front, target: str, device: str | None
) -> list[tuple[Point, float]]:
    """The first front's networks, with their ms on the other target."""
    maker = prepared(
        case.model, folder / target, case.calibration, case.evaluation, None, None, 0, target,
        device, NoProgress(), {"shapes": case.shapes},
    )  # fmt: skip
    beside = Beside(maker.artifact(ORIGINAL), maker.timed(ORIGINAL).p50_ms)
    found = []
    for point in front.points:
        if point.on_front and point.quant is None:  # bf16 is of the target that has it
            artifact = maker.folder.work("moved") / f"{point.id}.tvmc"
            network = folder / source / point.onnx
            timed = maker.bench.timed(point.name, network, artifact, None, beside)
            found.append((point, timed.p50_ms))
    return found


def _told(own: Front, moved: Sequence[tuple[Point, float]]) -> str:
    ratios = []
    on_front = [point for point in own.points if point.on_front]
    for point in on_front:
        as_good = [ms for each, ms in moved if each.chosen_by.drop_low <= point.chosen_by.drop]
        if as_good:
            ratios.append(min(as_good) / point.p50_ms)
    without = len(on_front) - len(ratios)
    rest = f"; {without} lose less than any that was moved" if without else ""
    if not ratios:
        return f"none of {len(moved)} loses as little as the own front's{rest}"
    return (
        f"{median(ratios):.2f} times as long as the {len(ratios)} of its own front (median; "
        f"{min(ratios):.2f} to {max(ratios):.2f}){rest}"
    )
