"""Pruned weights: points on held-out data, latency and bytes, by sparsity."""

from __future__ import annotations

import argparse
from functools import partial

from benchmarks.compress import results
from benchmarks.compress.results import Row, lost, points
from benchmarks.compress.variants import compressed, in_float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    results.add_arguments(parser)
    results.budget_argument(parser)
    parser.add_argument(
        "--sparsity", type=float, nargs="+", default=[0.5, 0.7, 0.8], help="[%(default)s]"
    )
    parser.add_argument("--block", help="outputs by inputs [what the kernel takes]")
    parser.add_argument("--no-distil", action="store_true", help="only what needs no training")


def run(args: argparse.Namespace) -> int:
    """Print a row for each network."""
    variants = {"float": in_float()}
    block = {} if args.block is None else {"block": args.block}
    for share in args.sparsity:
        variants[f"{share:.0%}"] = compressed(args.seed, sparsity=share, **block)
        if not args.no_distil:
            variants[f"{share:.0%}, distilled"] = compressed(
                args.seed, args.budget, sparsity=share, distil=True, **block
            )
    settings = f"budget {args.budget}, seed {args.seed}, block {args.block}"
    found = results.rows(args, "sparse", settings, variants)
    columns = {"float: points, ms, KiB": partial(_cell, name="float")}
    columns |= {
        f"{name}: lost, times faster, smaller": partial(_gain, name=name)
        for name in variants
        if name != "float"
    }
    results.show(args, found, columns)
    return 0


def _cell(row: Row, name: str) -> str:
    judged = row.variants[name]
    kib = judged.constants_bytes / 2**10
    return f"{points(row.float_points)}, {judged.milliseconds:.3f}, {kib:,.1f}"


def _gain(row: Row, name: str) -> str:
    judged, reference = row.variants.get(name), row.variants["float"]
    if judged is None or judged.error:
        return lost(row, name)
    faster = reference.milliseconds / judged.milliseconds
    smaller = reference.constants_bytes / judged.constants_bytes
    return f"{lost(row, name)}, {faster:.2f}, {smaller:.2f}"
