"""Fewer channels: points and latency beside the same network whole, in float and in int8.

Both are built alike and timed in turns on one thread, of each the best run: what else runs on the
machine disturbs them alike.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

import tvmcomp
from benchmarks.accuracy.cases import Arrays, Case, gathered
from benchmarks.compress import networks, results
from benchmarks.kinds import catalogue as kinds
from tvmcomp.artifact.artifact import Artifact

#: Turns that artifacts are timed in, and runs of a turn.
_TURNS, _RUNS = 30, 20


class Cut(msgspec.Struct, frozen=True):
    """A network with fewer channels beside the whole one.

    Attributes:
        name: of the network.
        samples: given to `compress`, without labels.
        points: of the whole network in float.
        lost: points that each build loses against that: ``cut float`` (not where widths are chosen
            for int8), ``int8`` (whole), ``cut int8``.
        float_ratio, int8_ratio: how many times as fast as the whole network, in the same precision;
            None as above.
        parameters, macs: shares that are left.
        notes: what `compress` says.
    """

    name: str
    samples: int
    points: float
    lost: dict[str, float]
    float_ratio: float | None
    int8_ratio: float
    parameters: float
    macs: float
    notes: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--speedup", type=float, default=1.5, help="[%(default)s]")
    parser.add_argument(
        "--quant",
        choices=["int8"],
        help="choose widths by the time in integers, and quantize in the same recipe "
        "[by the time in float; what is cut is quantized by `build`]",
    )
    parser.add_argument("--budget", help="of distillation [none is done]")
    results.samples_argument(parser)
    parser.add_argument("--limit", type=int, metavar="N", help="judge by at most N samples")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print a row for each network."""
    found = []
    for name in args.names:
        print(name, file=sys.stderr, flush=True)
        found.append(_cut(networks.load(name, args.limit, args.samples), args))
    if args.json:
        print(json.dumps(msgspec.to_builtins(found), indent=2))
        return 0
    table = Table("network", "samples", "float", "cut: lost", "times as fast", "int8: lost",
                  "cut, int8: lost", "times as fast as int8", "parameters", "MACs")  # fmt: skip
    for each in found:
        lost = [
            f"{each.lost[kind]:.2f}" if kind in each.lost else "-"
            for kind in ("cut float", "int8", "cut int8")
        ]
        faster = "-" if each.float_ratio is None else f"{each.float_ratio:.2f}"
        table.add_row(
            each.name, str(each.samples), f"{each.points:.2f}", lost[0], faster,
            lost[1], lost[2], f"{each.int8_ratio:.2f}",
            f"{100 * each.parameters:.0f}%", f"{100 * each.macs:.0f}%",
        )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    return 0


def _cut(case: Case, args: argparse.Namespace) -> Cut:
    judged = {key: array[:32] for key, array in case.inputs.items()}
    options: dict[str, Any] = {"shapes": case.shapes}
    result = tvmcomp.compress(
        case.model, data=case.calibration, eval=judged, max_drop=100, measure=False, seed=args.seed,
        speedup=args.speedup, quant=args.quant, distil=bool(args.budget),
        budget=args.budget or "1m", **options,
    )  # fmt: skip
    common: dict[str, Any] = {"reference": False, "log": "none", **options}
    integers: dict[str, Any] = {"quant": "int8", "calibration": case.calibration, **common}
    built = {
        "float": tvmcomp.build(case.model, **common),
        "int8": tvmcomp.build(case.model, **integers),
    }
    if args.quant:
        built["cut int8"] = tvmcomp.build(result.model, **common)
    else:
        built["cut float"] = tvmcomp.build(result.model, **common)
        built["cut int8"] = tvmcomp.build(result.model, **integers)
    reference = kinds.run_float(case.model, case.inputs)
    whole = case.judge(reference, reference)
    first = next(iter(whole))
    points = {kind: _points(case, built[kind], reference)[first] for kind in built}
    seconds = dict(zip(built, _in_turns(list(built.values()), case.samples[0]), strict=True))
    proof = result.proof
    assert proof is not None
    return Cut(
        name=case.name,
        samples=len(case.calibration),
        points=whole[first],
        lost={kind: whole[first] - each for kind, each in points.items() if kind != "float"},
        float_ratio=seconds["float"] / seconds["cut float"] if "cut float" in seconds else None,
        int8_ratio=seconds["int8"] / seconds["cut int8"],
        parameters=proof.after.parameters / proof.before.parameters,
        macs=proof.after.macs / proof.before.macs,
        notes=[note for step in proof.steps for note in step.notes],
    )


def _points(case: Case, artifact: Artifact, reference: Arrays) -> dict[str, float]:
    with tvmcomp.load(artifact, threads=1) as session:
        outputs = gathered([session.run(sample) for sample in case.samples])
    return case.judge(outputs, reference)


def _in_turns(artifacts: Sequence[Artifact], sample: Arrays) -> list[float]:
    """Seconds of the best run of each on ``sample``."""
    sessions = [tvmcomp.load(artifact, threads=1) for artifact in artifacts]
    for session in sessions:
        session.run(sample)
    best = [float("inf")] * len(sessions)
    for _ in range(_TURNS):
        for position, session in enumerate(sessions):
            best[position] = min(best[position], *session.time(_RUNS))
    for session in sessions:
        session.close()
    return best
