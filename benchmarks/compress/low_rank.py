"""Low rank: how much faster a network gets, and what that costs, both in float and as measured."""

from __future__ import annotations

import argparse
from functools import partial

from benchmarks.compress import results
from benchmarks.compress.results import Row, lost, points
from benchmarks.compress.variants import compressed, in_float

#: How many times as fast a network is to be, at how many points lost.
GOAL = (1.2, 0.5)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    results.add_arguments(parser)
    results.budget_argument(parser)
    parser.add_argument(
        "--faster", type=float, nargs="+", default=[GOAL[0]], help="goals [%(default)s]"
    )
    parser.add_argument("--distil", action="store_true", help="train what was factored, too")


def run(args: argparse.Namespace) -> int:
    """Print a row for each network; 1 where one does not reach the goal."""
    variants = {"float": in_float()}
    for goal in args.faster:
        step = {"name": "low_rank", "faster": goal}
        variants[f"x{goal}"] = compressed(args.seed, recipe=[step])
        if args.distil:
            recipe = [step, {"name": "distil"}]
            variants[f"x{goal}, distilled"] = compressed(args.seed, args.budget, recipe=recipe)
    found = results.rows(args, "low_rank", f"budget {args.budget}, seed {args.seed}", variants)
    columns = {"float": lambda row: points(row.float_points)}
    columns |= {
        f"{name}: lost, dB, x faster, x smaller": partial(_cell, name=name)
        for name in variants
        if name != "float"
    }
    results.show(args, found, columns)
    return int(not all(reaches_the_goal(row) for row in found))


def reaches_the_goal(row: Row) -> bool:
    """Whether a variant is as fast as asked for at no more points than that may cost."""
    float_ = row.variants["float"].milliseconds
    return any(
        not each.error and float_ >= GOAL[0] * each.milliseconds and each.drop <= GOAL[1]
        for name, each in row.variants.items()
        if name != "float"
    )


def _cell(row: Row, name: str) -> str:
    judged, float_ = row.variants.get(name), row.variants["float"]
    if judged is None or judged.error:
        return lost(row, name)
    faster = float_.milliseconds / max(judged.milliseconds, 1e-9)
    smaller = float_.constants_bytes / max(judged.constants_bytes, 1)
    return f"{lost(row, name)}, {judged.sqnr_db:.1f}, {faster:.2f}, {smaller:.2f}"
