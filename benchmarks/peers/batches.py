"""Images a second at batch 1, 8 and 32: ours, from one artifact for all batches, and the peers'.

Every engine runs in a process of its own and they take turns, as in `python -m benchmarks.peers`.
A ratio is our images a second over the faster peer's, the median over the rounds. The peers get a
model with its shape fixed for each batch, as they are fastest.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.peers import cases
from benchmarks.peers.__main__ import ENGINES, choice
from benchmarks.peers.cases import Case
from benchmarks.peers.isa import isas, machine
from benchmarks.peers.models import make, offered
from benchmarks.peers.report import paired
from benchmarks.peers.turns import Contestant, take_turns
from benchmarks.zoo.packages import ZooError

NETWORKS = ("mobilenet-v2", "resnet18", "squeezenet1.1", "minilm-128")


@dataclass(frozen=True)
class Row:
    """One network at one batch: images a second of each engine, and ratios.

    Attributes:
        per_second: by engine; what failed is missing.
        ratio: ours over the faster peer's; None where one of them failed.
        to_batch_1: ours over our own at batch 1, by the medians.
    """

    network: str
    threads: int
    batch: int
    per_second: dict[str, float]
    ratio: float | None
    to_batch_1: float


def at_batch(case: Case, batch: int) -> Case:
    """The case with ``batch`` samples at once."""
    return replace(
        case,
        name=f"{case.name}-batch{batch}",
        shapes={name: (batch, *shape[1:]) for name, shape in case.shapes.items()},
        inputs={name: np.repeat(array, batch, axis=0) for name, array in case.inputs.items()},
    )


def measure(network: str, batches: list[int], threads: int, args: argparse.Namespace) -> list[Row]:
    """Let the engines take turns at each batch."""
    case, isa = cases.load(network), isas()[args.isa]
    together = replace(case, name=f"{case.name}-batches", batches=tuple(batches))
    ours = make(together, "tvmcomp", args.precision, isa, rebuild=args.rebuild)
    rows: list[Row] = []
    for batch in batches:
        own = at_batch(case, batch)
        contestants = [Contestant("tvmcomp", args.precision, ours.path)]
        for engine in args.engines:
            if engine != "tvmcomp" and offered(engine, args.precision):
                made = make(own, engine, args.precision, isa)
                contestants.append(Contestant(engine, args.precision, made.path))
        take_turns(
            contestants,
            own.inputs,
            threads,
            rounds=args.rounds,
            block_seconds=args.block,
            environment=isa.environment,
        )
        measured = {each.engine: each for each in contestants if each.blocks}
        for each in contestants:
            if each.failure:
                print(f"FAILED: {own.name}: {each.engine}: {each.failure}", file=sys.stderr)
        mine = measured.get("tvmcomp")
        peers = [each for each in contestants if each.engine != "tvmcomp"]
        ratio = None
        if mine and all(each.blocks for each in peers):
            ratio = min(paired(each, mine) for each in peers)
        per_second = {name: 1e3 * batch / each.ms for name, each in measured.items()}
        first = rows[0].per_second if rows else per_second
        own_ratio = per_second.get("tvmcomp", math.nan) / first.get("tvmcomp", math.nan)
        rows.append(Row(network, threads, batch, per_second, ratio, own_ratio))
    return rows


def print_rows(rows: list[Row]) -> None:
    """The table, and the ratios' geometric mean for each number of threads and batch."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    table = Table("network", "threads", "batch", title="images a second")
    for column in (*ENGINES, "ratio", "to batch 1"):
        table.add_column(column, justify="right")
    for row in rows:
        speeds = [f"{row.per_second[e]:.1f}" if e in row.per_second else "" for e in ENGINES]
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        head = row.network, str(row.threads), str(row.batch)
        table.add_row(*head, *speeds, ratio, f"{row.to_batch_1:.2f}")
    console.print(table)
    for threads, batch in dict.fromkeys((row.threads, row.batch) for row in rows):
        mine = [row for row in rows if (row.threads, row.batch) == (threads, batch)]
        ratios = [row.ratio for row in mine if row.ratio is not None]
        if ratios:
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            console.print(f"batch {batch}, {threads} threads: geometric mean {mean:.2f}")


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers.batches",
        description=__doc__,
        epilog="example: python -m benchmarks.peers.batches mobilenet-v2 --batch 1,8\n\n"
        "exit status: 0 done, 1 something could not be measured",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument

    def numbers(text: str) -> list[int]:
        return [int(number) for number in text.split(",")]

    add("networks", nargs="*", default=NETWORKS, help="zoo names or .onnx files of an open batch")
    add("--batch", type=numbers, default=[1, 8, 32], help="1,8,32")
    add("--threads", type=numbers, default=[2], help="[2]")
    add("--precision", choices=["fp32", "bf16"], default="fp32")
    add("--engines", type=choice(ENGINES), default=list(ENGINES), help=",".join(ENGINES))
    add("--isa", choices=list(isas()), default="native", help="instruction set for all [native]")
    add("--rounds", type=int, default=7, help="turns of each engine [7]")
    add("--block", type=float, default=0.5, metavar="SECONDS", help="length of a turn [0.5]")
    add("--rebuild", action="store_true", help="make our artifacts anew")
    add("--json", type=Path, help="write the rows there, too")
    args = parser.parse_args(arguments)
    rows: list[Row] = []
    try:
        for network in args.networks:
            for threads in args.threads:
                rows += measure(network, args.batch, threads, args)
    except (ZooError, OSError, ValueError) as error:
        print(f"benchmarks.peers.batches: {error}", file=sys.stderr)
        return 1
    if args.json:
        document = {"machine": machine(), "rows": [asdict(row) for row in rows]}
        args.json.write_text(json.dumps(document, indent=2) + "\n")
    print_rows(rows)
    return int(any(row.ratio is None for row in rows))


if __name__ == "__main__":
    sys.exit(main())
