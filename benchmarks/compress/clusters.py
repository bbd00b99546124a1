"""Clusters beside even steps: points, noise at the outputs, and bytes of all constants in the file.

Both compute in int8. Even steps are coded by their entropy in the artifact, and so are clusters.
"""

from __future__ import annotations

import argparse
from functools import partial

from benchmarks.compress import results
from benchmarks.compress.results import Row, lost, points
from benchmarks.compress.variants import compressed, in_float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    results.add_arguments(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bits", type=int, nargs="+", default=[4, 3], help="[%(default)s]")
    parser.add_argument("--clusters", type=int, nargs="+", default=[16, 8], help="[%(default)s]")
    parser.add_argument("--in-float", action="store_true", help="clusters computed in float, too")


def run(args: argparse.Namespace) -> int:
    """Print a row for each network."""
    variants = {"float": in_float()}
    for bits in args.bits:
        variants[f"{bits} bits"] = compressed(args.seed, bits=bits)
    for count in args.clusters:
        variants[f"{count} clusters"] = compressed(args.seed, clusters=count, quant="int8")
    if args.in_float:
        for count in args.clusters:
            variants[f"{count} clusters, float"] = compressed(args.seed, clusters=count)
    found = results.rows(args, "clusters", f"seed {args.seed}", variants)
    columns = {"float": lambda row: points(row.float_points)}
    columns |= {
        f"{name}: lost, dB, KiB": partial(_cell, name=name) for name in variants if name != "float"
    }
    results.show(args, found, columns)
    return 0


def _cell(row: Row, name: str) -> str:
    judged = row.variants.get(name)
    if judged is None or judged.error:
        return lost(row, name)
    return f"{lost(row, name)}, {judged.sqnr_db:.1f}, {judged.constants_bytes / 2**10:.1f}"
