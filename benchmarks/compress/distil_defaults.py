"""Rates and block weights of distillation, by the loss on watched samples: what its defaults are.

Weights are rounded to the nearest of few bits, so that there is something to learn. Nothing that a
network is judged on elsewhere is looked at.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.compress import networks
from tvmcomp.compress.data import read_data
from tvmcomp.compress.distil import DistilOptions, distil
from tvmcomp.compress.fake_quantize import FakeQuantizeOptions, quantize_model
from tvmcomp.compress.original import read_original
from tvmcomp.progress import NoProgress

#: Rate and block weight.
_TRIED = ((0.005, 10.0), (0.002, 1.0), (0.002, 10.0))


class Trial(msgspec.Struct, frozen=True):
    """A distillation.

    Attributes:
        name, seed: what was distilled, and what divides the samples and draws.
        rate, block_weight, steps, bits: settings.
        before, after: losses on watched samples.
        watched: how many.
    """

    name: str
    seed: int
    rate: float
    block_weight: float
    steps: int
    bits: int
    before: float
    after: float
    watched: int

    @property
    def share(self) -> float:
        """Of the loss that is left."""
        return self.after / self.before


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--steps", type=int, default=200, help="of each training [%(default)s]")
    parser.add_argument("--bits", type=int, default=3, help="of the weights [%(default)s]")
    parser.add_argument("--seeds", type=int, default=2, help="[%(default)s]")
    parser.add_argument("--results", type=Path, metavar="FILE", help="keep each trial there")


def run(args: argparse.Namespace) -> int:
    """Print the loss that is left for each network and setting, and their geometric means."""
    trials = _kept(args.results)
    for name in args.names:
        for seed in range(args.seeds):
            missing = [
                (rate, weight)
                for rate, weight in _TRIED
                if not _of(trials, name, seed, rate, weight, args)
            ]
            if missing:
                trials += _tried(name, seed, missing, args)
    heads = [f"rate {rate}, blocks {weight:g}" for rate, weight in _TRIED]
    table = Table("network", "seed", "watched", "loss before", *heads)
    logs: list[list[float]] = [[] for _ in _TRIED]
    for name in args.names:
        for seed in range(args.seeds):
            found = [_of(trials, name, seed, rate, weight, args)[0] for rate, weight in _TRIED]
            for position, trial in enumerate(found):
                logs[position].append(math.log(max(trial.share, 1e-9)))
            first = found[0]
            table.add_row(
                name, str(seed), str(first.watched), f"{first.before:.3g}",
                *(f"{trial.share:.3f}" for trial in found),
            )  # fmt: skip
    means = [math.exp(sum(each) / len(each)) for each in logs]
    table.add_row("geometric mean", "", "", "", *(f"{each:.3f}" for each in means))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    return 0


def _tried(
    name: str, seed: int, settings: list[tuple[float, float]], args: argparse.Namespace
) -> list[Trial]:
    case = networks.load(name, 1)
    original = read_original(case.model, shapes=case.shapes)
    # All samples are to fit and to watch: nothing is judged.
    data = read_data(
        case.calibration,
        original.signature,
        labels=None,
        evaluation=case.inputs,
        images=None,
        seed=seed,
    )
    options = FakeQuantizeOptions(bits=args.bits, rounding="nearest", weight_bits={"*": args.bits})
    rounded = quantize_model(original.prepared, data.parts, options, NoProgress()).model
    found = []
    for rate, weight in settings:
        print(f"{name}, seed {seed}: {rate}, {weight:g}", file=sys.stderr, flush=True)
        given = DistilOptions(
            budget=None, steps=args.steps, seed=seed, rate=rate, block_weight=weight
        )
        made = distil(rounded, original.prepared, data.parts, given)
        assert made.start is not None and made.best is not None
        found.append(
            Trial(
                name, seed, rate, weight, args.steps, args.bits,
                made.start.loss, made.best.loss, len(made.best.losses),
            )
        )  # fmt: skip
        if args.results is not None:
            with args.results.open("a") as file:
                file.write(json.dumps(msgspec.to_builtins(found[-1])) + "\n")
    return found


def _of(
    trials: list[Trial],
    name: str,
    seed: int,
    rate: float,
    weight: float,
    args: argparse.Namespace,
) -> list[Trial]:
    key = (name, seed, rate, weight, args.steps, args.bits)
    return [t for t in trials if (t.name, t.seed, t.rate, t.block_weight, t.steps, t.bits) == key]


def _kept(path: Path | None) -> list[Trial]:
    if path is None or not path.exists():
        return []
    return [msgspec.json.decode(line, type=Trial) for line in path.read_text().splitlines()]
