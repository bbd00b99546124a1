"""How long builds for GPUs take, of each network in each precision; the tables need no GPU."""

from __future__ import annotations

import argparse

from benchmarks.cuda.builds import QUANTS, TARGETS, timed_builds
from benchmarks.cuda.options import add_options, print_json, quants_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which networks, for what."""
    add_options(parser, TARGETS, "+")


def run(given: argparse.Namespace) -> int:
    """1 where a build fails."""
    rows = []
    models = [(model.stem, model) for model in given.models]
    for row in timed_builds(models, given.target or TARGETS, quants_of(given, QUANTS)):
        rows.append(row)
        if not given.json:
            took = f"{row.seconds:6.1f} s {row.cpu_seconds:6.1f} s of CPU" if row.seconds else "-"
            name = f"{row.network:20} {row.target:12} {row.quant:8}"
            print(f"{name} {took} {row.mib:7.1f} MiB {row.reason}", flush=True)
    if given.json:
        print_json(rows)
    return int(any(row.seconds is None for row in rows))
