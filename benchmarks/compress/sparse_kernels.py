"""Sparse kernels against dense ones: times in turns, and the sparsity from which they pay."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.arm import static_loops
from tvmcomp import targets
from tvmcomp.codegen.race import race
from tvmcomp.passes.lowering.anchor_forms import choose_form
from tvmcomp.passes.lowering.form import Form
from tvmcomp.passes.lowering.sparse_form import alone, sparse_form
from tvmcomp.passes.pipeline import lower
from tvmcomp.schedules.anchor import Anchor, Window
from tvmcomp.schedules.dot import DotKernel, float_kernel, int8_kernel
from tvmcomp.schedules.sparse.choose import SparseChoice, choose_sparse, sparse_kernel
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

#: Shapes of data, and output channels: 1x1 convolutions and products of usual networks.
SHAPES = (
    ((1, 56, 56, 64), 256), ((1, 28, 28, 256), 128), ((1, 28, 28, 40), 240),
    ((1, 14, 14, 256), 1024), ((1, 14, 14, 96), 576), ((1, 14, 14, 480), 112),
    ((1, 7, 7, 512), 2048), ((1, 7, 7, 960), 160), ((1, 13, 13, 100), 52),
    ((128, 384), 1536), ((128, 1536), 384), ((1, 1280), 1000),
)  # fmt: skip
#: Measured here, where they run; and those that LLVM's model of the core stands for.
HERE, MODELLED = ("native", "x86-64-v4", "x86-64-v3"), ("rpi4", "rpi5")
SPARSITIES = (0.2, 0.5, 0.7, 0.8, 0.9)


class Measured(msgspec.Struct, frozen=True):
    """A shape on a target.

    Attributes:
        target, dtype, shape, outputs: what was timed.
        block: outputs and inputs of a block.
        ratios: sparsity -> the dense kernel's time over the sparse one's.
        break_even: the sparsity at which both take as long.
    """

    target: str
    dtype: str
    shape: tuple[int, ...]
    outputs: int
    block: str
    ratios: dict[str, float]
    break_even: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    parser.add_argument("--targets", nargs="+", default=[*HERE, *MODELLED], metavar="TARGET")
    parser.add_argument("--shapes", type=int, default=len(SHAPES), metavar="N", help="the first N")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print a row for each shape; 1 where 80% sparsity gains less than 1.3 times."""
    found = []
    for name in args.targets:
        target = targets.detect() if name == "native" else targets.load(name)
        for dtype in ("float32", "int8"):
            rows = [_measured(name, target, dtype, *each) for each in SHAPES[: args.shapes]]
            found += rows
            if not args.json:
                _print(name, target, dtype, rows)
    if args.json:
        print(json.dumps(msgspec.to_builtins(found), indent=2))
    return int(any(row.ratios["80%"] < 1.3 for row in found))


def _measured(
    name: str, target: TargetDescription, dtype: str, shape: tuple[int, ...], outputs: int
) -> Measured:
    rank = len(shape) - 2 if len(shape) > 2 else 1
    window = Window((1,) * rank, (1,) * rank, (1,) * rank, ((0, 0),) * rank)
    anchor = Anchor(shape, window, outputs)
    kernel = float_kernel(target) if dtype == "float32" else int8_kernel(target)
    if kernel.pixels > anchor.output[-1]:
        kernel = int8_kernel(target, 1)
    ratios, block = {}, ""
    for sparsity in SPARSITIES:
        weight = _weight(anchor, sparse_kernel(kernel, target) or kernel, sparsity)
        choice = choose_sparse(anchor, weight, kernel, target)
        assert choice is not None
        dense = choose_form(anchor, weight, kernel, target, winograd=True)
        block = f"{choice.plan.width}x{choice.plan.kernel.depth}"
        pair = [dense, sparse_form(weight, choice.plan)]
        if targets.runs_here(target) is None:
            modules = [alone(form, choice.plan) for form in pair]
            ratios[sparsity] = max(race(modules[0], modules[1], target) for _ in range(2))
        else:
            ratios[sparsity] = _modelled(pair, choice, target)
    told = {f"{s:.0%}": round(r, 2) for s, r in ratios.items()}
    return Measured(name, dtype, shape, outputs, block, told, _break_even(ratios))


def _weight(anchor: Anchor, kernel: DotKernel, sparsity: float) -> np.ndarray:
    """Random blocks of 16 outputs by the dot product's inputs."""
    rng = np.random.default_rng(0)
    rows, columns = anchor.out_channels, anchor.channels
    blocks = -(-rows // 16), -(-columns // kernel.depth)
    kept = np.zeros(blocks[0] * blocks[1], bool)
    kept[: round(kept.size * (1 - sparsity))] = True
    wide = np.repeat(np.repeat(rng.permutation(kept).reshape(blocks), 16, 0), kernel.depth, 1)
    values = rng.integers(1, 100, (rows, columns)) * wide[:rows, :columns]
    taps = (1,) * len(anchor.window.kernel)
    return values.astype(kernel.weight).reshape(rows, *taps, columns)


def _break_even(ratios: dict[float, float]) -> float:
    """Where the sparse kernel's time, a line of what is left, meets the dense one's."""
    left = np.array([1 - s for s in ratios])
    slope, start = np.polyfit(left, [1 / r for r in ratios.values()], 1)
    return round(float(np.clip(1 - (1 - start) / slope, 0, 1)), 2)


def _modelled(pair: list[Form], choice: SparseChoice, target: TargetDescription) -> float:
    """By LLVM's model of the core: cycles of the inner loops, each as often as it runs."""
    plan = choice.plan
    rates = [
        static_loops.macs_per_cycle(_loop(alone(form, plan), target), target.cpu) for form in pair
    ]
    anchor = plan.anchor
    blocks = plan.tasks[-1] * -(-anchor.channels // plan.kernel.depth)
    return rates[1] / rates[0] * blocks / plan.count


def _loop(module: Any, target: TargetDescription) -> static_loops.Loop:
    found = list(_loops(lower(module, target).mod, target))
    return max(found, key=lambda loop: loop.weight)


def _loops(module: Any, target: TargetDescription) -> Iterator[static_loops.Loop]:
    for var, func in module.functions.items():
        if isinstance(func, tvm.tirx.PrimFunc):
            kernel = tvm.IRModule({var: func})
            code = tvm.compile(kernel, tvm.target.Target(target.tvm_target_dict()))
            for _, body in static_loops.functions(code.mod.inspect_source("asm")):
                loop = static_loops.hottest_loop(body)
                if loop is not None:
                    yield loop


def _print(name: str, target: TargetDescription, dtype: str, rows: list[Measured]) -> None:
    here = targets.runs_here(target) is None
    how = "measured in turns" if here else f"LLVM's {static_loops.which_model(target.cpu)}"
    table = Table("shape", "outputs", "block", *rows[0].ratios, "break-even")
    table.title = f"{name}, {dtype}: dense time over sparse time, {how}"
    for row in rows:
        shape = "x".join(map(str, row.shape))
        cells = (f"{ratio:.2f}" for ratio in row.ratios.values())
        table.add_row(shape, str(row.outputs), row.block, *cells, f"{row.break_even:.0%}")
    Console(width=120).print(table)
    worst = max(row.break_even for row in rows)
    median = float(np.median([row.break_even for row in rows]))
    least = min(row.ratios["80%"] for row in rows)
    print(f"break-even {median:.0%} (at most {worst:.0%}); at 80%: at least {least:.2f} times")
