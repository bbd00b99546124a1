"""What the compiler makes of a network's kernels: registers, shared memory, instructions."""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.cuda.machine_code import TARGETS, rows_of
from benchmarks.cuda.networks import write_kernel_classes
from benchmarks.cuda.options import add_options, print_json, quants_of

_HEAD = "target      quant   registers shared spilled threads occupancy  kernel: instructions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Without a model, a small network with one kernel of each kind."""
    add_options(parser, TARGETS, "*")


def run(given: argparse.Namespace) -> int:
    """1 where a kernel spills."""
    rows = []
    if not given.json:
        print(_HEAD)
    with TemporaryDirectory(prefix="tvmcomp-cuda-") as folder:
        models = given.models or [write_kernel_classes(Path(folder, "kernel_classes.onnx"))]
        for model in models:
            for row in rows_of(model, given.target or TARGETS, quants_of(given, ("fp16",))):
                rows.append(row)
                if not given.json:
                    found = ", ".join(f"{name} {n}" for name, n in row.instructions.items())
                    print(
                        f"{row.target:11} {row.quant:7} {row.registers:9} {row.shared:6} "
                        f"{row.spilled:7} {row.threads:7} {row.occupancy:9.0%}  {row.name}: "
                        f"{found or '-'}",
                        flush=True,
                    )
    if given.json:
        print_json(rows)
    return int(any(row.spilled for row in rows))
