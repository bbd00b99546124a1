"""Weights of few bits: points on held-out data, and bytes of them, their scales and biases."""

from __future__ import annotations

import argparse
from functools import partial

from benchmarks.compress import results
from benchmarks.compress.results import Row, lost, points
from benchmarks.compress.variants import compressed, in_float, int8

#: How many times smaller than the float ones weights are to be, at how many points: one of these.
GOALS = ((8.0, 0.5), (10.0, 1.0))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    results.add_arguments(parser)
    results.budget_argument(parser)
    parser.add_argument(
        "--bits", type=int, nargs="+", default=[4], help="of the weights [%(default)s]"
    )
    parser.add_argument("--no-distil", action="store_true", help="only what needs no training")


def run(args: argparse.Namespace) -> int:
    """Print a row for each network; 1 where none of its variants reaches a goal."""
    variants = {"float": in_float(), "int8": int8()}
    for bits in args.bits:
        variants[f"{bits} bits"] = compressed(args.seed, bits=bits)
        if not args.no_distil:
            variants[f"{bits} bits, distilled"] = compressed(
                args.seed, args.budget, bits=bits, distil=True
            )
    settings = f"budget {args.budget}, seed {args.seed}"
    found = results.rows(args, "low_bits", settings, variants)
    columns = {"float": lambda row: points(row.float_points), "KiB": _kib}
    columns |= {f"{name}: lost, x smaller": partial(_cell, name=name) for name in variants}
    del columns["float: lost, x smaller"]
    results.show(args, found, columns)
    return int(not all(reaches_a_goal(row) for row in found))


def ratio(row: Row, name: str) -> float:
    """How many times smaller the constants of a variant are than the float ones; 0 for none."""
    variant, reference = row.variants.get(name), row.variants["float"]
    if variant is None or variant.error or reference.error:
        return 0.0
    return reference.constants_bytes / max(1, variant.constants_bytes)


def reaches_a_goal(row: Row) -> bool:
    """Whether a variant is as small as asked for at no more points than that may cost."""
    return any(
        ratio(row, name) >= smaller and judged.drop <= most
        for name, judged in row.variants.items()
        for smaller, most in GOALS
    )


def _kib(row: Row) -> str:
    return f"{row.variants['float'].constants_bytes / 2**10:,.1f}"


def _cell(row: Row, name: str) -> str:
    times = ratio(row, name)
    return f"{lost(row, name)}, {times:.2f}" if times else lost(row, name)
