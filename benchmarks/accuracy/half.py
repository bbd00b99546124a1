"""What bf16 (or fp16) costs in accuracy, and what it gains in speed.

Builds each network in float32 and in half precision for this machine, judges both on held-out data
against ONNX Runtime's float32, and times them in turns on one thread.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import tvmcomp
from benchmarks.accuracy import cases as accuracy_cases
from benchmarks.accuracy.cases import Arrays, Case, gathered
from benchmarks.kinds import catalogue as kinds
from benchmarks.zoo.packages import ZooError

#: Points of a task's score that half precision may lose; of the agreement over a thousand classes,
#: near ties included, twice that.
MAX_DROP = 1.0
_MAX_DROP_OF = {"efficientnet-lite0": 2.0}
_ROUNDS = 6
_RUNS = 30


def outputs_of(case: Case, session: Any) -> Arrays:
    """The outputs on the evaluation samples."""
    return gathered([session.run(sample) for sample in case.samples])


def times_in_turns(sessions: list[Any]) -> list[float]:
    """Median milliseconds of each session, measured in rounds that take turns."""
    rounds = [[np.median(s.time(_RUNS)) for s in sessions] for _ in range(_ROUNDS)]
    return [1e3 * float(value) for value in np.median(rounds, axis=0)]


def judge_network(case: Case, quant: str) -> dict[str, Any]:
    """One row of the table."""
    reference = kinds.run_float(case.model, case.inputs)
    artifacts = [
        tvmcomp.build(case.model, quant=q, shapes=case.shapes, reference=False)
        for q in (None, quant)
    ]
    sessions = [tvmcomp.load(artifact, threads=1) for artifact in artifacts]
    before, after = (
        case.judge(reference, reference),
        case.judge(outputs_of(case, sessions[1]), reference),
    )
    for session in sessions:
        session.set_inputs(case.samples[0])
    float_ms, half_ms = times_in_turns(sessions)
    return {
        "name": case.name,
        "samples": len(case.samples),
        "float_points": before,
        "half_points": after,
        "drop": max(before[key] - after[key] for key in before),
        "float_ms": float_ms,
        "half_ms": half_ms,
        "speedup": float_ms / half_ms,
    }


def main(arguments: list[str] | None = None) -> int:
    """Judge the networks; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy.half",
        description=__doc__,
        epilog="example:\n  python -m benchmarks.accuracy.half efficientnet-lite0 minilm\n\n"
        "exit status: 0 no network loses more than it may, 1 one does, 2 wrong command line",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    zoo = list(accuracy_cases.ZOO_SCORES)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(zoo)}; all")
    parser.add_argument("--quant", choices=["bf16", "fp16"], default="bf16")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--limit", type=int, metavar="N", help="judge by at most N samples")
    args = parser.parse_args(arguments)
    unknown = [name for name in args.names if name not in zoo]
    if unknown:
        parser.error(f"no network is called {unknown[0]!r}")
    rows = []
    for name in args.names or zoo:
        print(f"judging {name}", file=sys.stderr)
        try:
            rows.append(judge_network(accuracy_cases.load(name, args.limit), args.quant))
        except ZooError as error:
            print(f"benchmarks.accuracy.half: {error}", file=sys.stderr)
            return 1
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        _print_table(rows, args.quant)
    return int(any(row["drop"] > _MAX_DROP_OF.get(row["name"], MAX_DROP) for row in rows))


def _print_table(rows: list[dict[str, Any]], quant: str) -> None:
    table = Table("network", "samples", "float", quant, "drop", "ms float", f"ms {quant}", "x")
    for row in rows:
        table.add_row(
            row["name"],
            str(row["samples"]),
            " ".join(f"{value:.2f}" for value in row["float_points"].values()),
            " ".join(f"{value:.2f}" for value in row["half_points"].values()),
            f"{row['drop']:+.2f}",
            f"{row['float_ms']:.3f}",
            f"{row['half_ms']:.3f}",
            f"{row['speedup']:.2f}",
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    sys.exit(main())
