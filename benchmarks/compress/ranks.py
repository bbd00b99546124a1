"""What lower ranks could give: of each operator time against harm, and of all together the points
that each speedup costs. Where a network can't be had faster so, this is the evidence."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import msgspec
import numpy as np
import onnx
from rich.console import Console
from rich.table import Table

from benchmarks.accuracy.cases import Case, gathered
from benchmarks.compress import networks
from benchmarks.kinds import catalogue as kinds
from tvmcomp.compress.cost import OperatorTimes
from tvmcomp.compress.data import read_data
from tvmcomp.compress.fake_quantize import finish
from tvmcomp.compress.low_rank.choose import descents, saved
from tvmcomp.compress.low_rank.options import LowRankSettings
from tvmcomp.compress.low_rank.prospects import Prospect, chosen_factors
from tvmcomp.compress.low_rank.refit import refitted
from tvmcomp.compress.low_rank.rewrite import replaced
from tvmcomp.compress.low_rank.study import study, table
from tvmcomp.compress.original import Original, read_original
from tvmcomp.compress.running import Runner, in_turn
from tvmcomp.compress.samples import Parts
from tvmcomp.compress.sensitivity import Sensitivity
from tvmcomp.progress import NoProgress

#: Speedups that are looked for.
_GOALS = (1.05, 1.1, 1.15, 1.2, 1.3)


class Reached(msgspec.Struct, frozen=True):
    """A network with ranks of several operators.

    Attributes:
        goal: how many times as fast it was to be by the times of its operators.
        measured: how many times as fast it is as a whole, in turns.
        operators: that are factored.
        lost: points on held-out data, after the factors were fitted one after the other.
    """

    goal: float
    measured: float
    operators: int
    lost: float


class Ranks(msgspec.Struct, frozen=True):
    """What lower ranks could give a network.

    Attributes:
        name: of the network.
        milliseconds: of a run of it.
        operators: rows of each operator that is faster with a lower rank.
        dense: why others are not: reason -> how many.
        reached: one speedup after the other.
    """

    name: str
    milliseconds: float
    operators: list[Sensitivity]
    dense: dict[str, int]
    reached: list[Reached]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--limit", type=int, metavar="N", help="judge by at most N samples")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print two tables for each network."""
    found = [_ranks(networks.load(name, args.limit)) for name in args.names]
    if args.json:
        print(json.dumps(msgspec.to_builtins(found), indent=2))
        return 0
    console = Console(width=None if sys.stdout.isatty() else 160)
    for each in found:
        rows = Table("operator", "rank", "left", "saves", "noise", title=each.name)
        for row in each.operators:
            rows.add_row(
                row.name, str(row.count), str(row.left), f"{row.saved:.1%}", f"{row.harm:.2g}"
            )
        console.print(rows)
        for reason, count in each.dense.items():
            console.print(f"{count} operators: {reason}", markup=False)
        rows = Table("times as fast by operators", "as a whole", "operators", "points lost")
        for step in each.reached:
            rows.add_row(
                f"{step.goal:.2f}", f"{step.measured:.2f}", str(step.operators), f"{step.lost:.2f}"
            )
        console.print(rows)
    return 0


def _ranks(case: Case) -> Ranks:
    original = read_original(case.model, shapes=case.shapes)
    read: Any = read_data(
        case.calibration,
        original.signature,
        labels=None,
        evaluation=case.inputs,
        images=None,
        seed=0,
    )
    parts: Parts = read.parts
    times = OperatorTimes()
    prospects = study(
        original.prepared, parts, LowRankSettings(drop=0.0), times, "float", NoProgress()
    )
    whole = times.seconds(original.prepared)
    dense: dict[str, int] = {}
    for each in prospects:
        if not each.candidates:
            reason = (each.reason or "").partition(":")[0]
            dense[reason] = dense.get(reason, 0) + 1
    return Ranks(
        case.name,
        1e3 * whole,
        table(prospects, whole),
        dense,
        _reached(case, original, prospects, parts, times, whole),
    )


def _reached(
    case: Case,
    original: Original,
    prospects: list[Prospect],
    parts: Parts,
    times: OperatorTimes,
    whole: float,
) -> list[Reached]:
    found = []
    steps = list(descents(prospects))
    for goal in _GOALS:
        choice = next((c for c in steps if whole - saved(prospects, c) <= whole / goal), None)
        if choice is None:
            break
        factors = chosen_factors(choice)
        small = replaced(original.prepared, factors)
        small = refitted(original.prepared, small, factors, parts.fit)
        before, after = times.in_turns([original.prepared, small], again=True)
        found.append(Reached(goal, before / after, len(choice), _lost(case, finish(small))))
    return found


def _lost(case: Case, small: onnx.ModelProto) -> float:
    reference = kinds.run_float(case.model, case.inputs)
    runner = Runner(small)
    parts = [runner(case.samples[part]) for part in in_turn(case.samples)]
    outputs = gathered(
        [{n: a.reshape(-1, *a.shape[2:]) for n, a in each.items()} for each in parts]
    )
    before, after = case.judge(reference, reference), case.judge(outputs, reference)
    return max(float(np.round(before[key] - after[key], 4)) for key in before)
