"""What int8 costs in accuracy: tvmcomp's default, at other settings of its guard, and the peers'.

Builds each network in float and in int8 for this machine, runs both on held-out data, and prints
how far the float build is from ONNX Runtime, how many points of the task's score int8 loses, what
it takes in memory, and which operators the accuracy guard kept in float at what cost in time.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from typing import Any

import numpy as np
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

import tvmcomp
from benchmarks.accuracy import cases as accuracy_cases
from benchmarks.accuracy.cases import Arrays, Case, gathered
from benchmarks.accuracy.peer_process import peer_run
from benchmarks.accuracy.peers import PEERS
from benchmarks.kinds import catalogue as kinds
from benchmarks.zoo.packages import ZooError
from tvmcomp.quantize import QuantConfig

#: What issue 2 asks for.
MAX_FLOAT_ERROR = 1e-4
MAX_CONSTANTS_RATIO = 0.27
#: Points that int8 may lose: of a task's score one, and half a one for the two classifiers whose
#: margin is asked for; where there are no labels the score is the agreement with the float network,
#: which is stricter, and 95% of a thousand classes are asked for.
MAX_DROP = 1.0
_MAX_DROP_OF = {"orientation": 0.5, "text-direction": 0.5, "efficientnet-lite0": 5.0}

SWEEP_DB: tuple[float | None, ...] = (None, 10.0, 15.0, 20.0, 25.0, 30.0)
_TIMED_RUNS = 30


def build(case: Case, config: QuantConfig | None) -> tuple[Any, float]:
    """The artifact, int8 where there is a `config`, and the seconds that its build took."""
    begin = time.perf_counter()
    artifact = tvmcomp.build(
        case.model,
        target="native",
        quant=None if config is None else "int8",
        calibration=None if config is None else case.calibration,
        shapes=case.shapes,
        config=config,
        reference=False,
    )
    return artifact, time.perf_counter() - begin


def run(case: Case, artifact: Any) -> tuple[Arrays, float]:
    """The outputs on the evaluation samples, and the median milliseconds of a run."""
    session = tvmcomp.load(artifact)
    outputs = gathered([session.run(sample) for sample in case.samples])
    return outputs, 1e3 * float(np.median(session.time(_TIMED_RUNS)))


def difference(got: Arrays, expected: Arrays) -> float:
    """The largest difference, as a share of the range of the output that it is in."""
    shares = [
        float(np.max(np.abs(got[key].astype(np.float64) - array)) / max(np.ptp(array), 1e-30))
        for key, array in expected.items()
    ]
    return max(shares)


def drop(before: dict[str, float], after: dict[str, float]) -> float:
    """Points lost, of the score that loses most."""
    return max(before[key] - after[key] for key in before)


def int8_facts(case: Case, config: QuantConfig, reference: Arrays) -> dict[str, Any]:
    """Build and judge int8 with one setting of the guard."""
    artifact, seconds = build(case, config)
    outputs, milliseconds = run(case, artifact)
    metadata = artifact.metadata
    # Only the build's own note has it: it is measured with everything in int8 beside it.
    cost = [re.search(r"takes ([\d.]+) times as long", note) for note in metadata.notes]
    points = case.judge(outputs, reference)
    float_points = case.judge(reference, reference)
    return {
        "int8_points": points,
        "drop": drop(float_points, points),
        "constants_bytes": artifact.constants_nbytes,
        "sqnr_db": metadata.calibration.get("sqnr_db"),
        "all_quantized_sqnr_db": metadata.calibration.get("all_quantized_sqnr_db"),
        "kept_float": metadata.calibration.get("kept_float", []),
        "kept_float_time_ratio": next((float(match[1]) for match in cost if match), None),
        "int8_ms": milliseconds,
        "build_seconds": seconds,
    }


def judge_network(case: Case, args: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    reference = kinds.run_float(case.model, case.inputs)
    row: dict[str, Any] = {
        "name": case.name,
        "samples": len(case.samples),
        "float_points": case.judge(reference, reference),
    }
    artifact, seconds = build(case, None)
    outputs, milliseconds = run(case, artifact)
    row |= {
        "float_error": difference(outputs, reference),
        "float_ms": milliseconds,
        "float_constants_bytes": artifact.constants_nbytes,
        "float_build_seconds": seconds,
    }
    if args.sweep:
        row["sweep"] = sweep(case, args.config, reference)
    else:
        row |= int8_facts(case, args.config, reference)
        row["constants_ratio"] = row["constants_bytes"] / artifact.constants_nbytes
    if args.peers:
        row["peers"] = {peer: peer_facts(peer, case, reference) for peer in PEERS}
    return row


def sweep(case: Case, config: QuantConfig, reference: Arrays) -> list[dict[str, Any]]:
    """int8 at each setting of the guard."""
    cells: list[dict[str, Any]] = []
    for db in SWEEP_DB:
        # A network that is good enough with everything in int8 is what it is without a guard.
        if db is not None and cells[0]["sqnr_db"] >= db:
            facts = cells[0]
        else:
            facts = int8_facts(case, replace(config, min_sqnr_db=db), reference)
        cells.append({**facts, "min_sqnr_db": db})
    return cells


def peer_facts(peer: str, case: Case, reference: Arrays) -> dict[str, Any]:
    """What a peer's int8 loses, or why it gives none."""
    try:
        points = case.judge(peer_run(peer, case).outputs, reference)
    except RuntimeError as error:
        return {"error": str(error)}
    return {"int8_points": points, "drop": drop(case.judge(reference, reference), points)}


def missed(row: dict[str, Any]) -> list[str]:
    """What a row should hold and does not."""
    if "error" in row:
        return [f"the build failed: {row['error']}"]
    found = []
    if row["float_error"] > MAX_FLOAT_ERROR:
        found.append(f"float differs by {row['float_error']:.1e} of the output's range")
    if row.get("constants_ratio", 0) > MAX_CONSTANTS_RATIO:
        found.append(f"int8 constants take {row['constants_ratio']:.3f} of the float ones")
    if row.get("drop", 0) > _MAX_DROP_OF.get(row["name"], MAX_DROP):
        found.append(f"int8 loses {row['drop']:.2f} points")
    return found


def show(points: dict[str, float]) -> str:
    """Points of each score, shortly."""
    return " ".join(f"{value:.2f}" for value in points.values())


def shown_ratio(decibels: float | None) -> str:
    """A ratio in dB, or nothing."""
    return "" if decibels is None else f"{decibels:.1f}"


def print_table(rows: list[dict[str, Any]], console: Console) -> None:
    """One line a network; below it which operators stayed float."""
    table = Table(
        "network", "samples", "float error", "float", "int8", "drop", "constants", "SQNR dB",
        "all int8 dB", "kept float", "x time", "ms float", "ms int8", "build s",
    )  # fmt: skip
    for row in rows:
        if "error" in row:
            table.add_row(row["name"], "", "failed")
            continue
        ratio = row["kept_float_time_ratio"]
        table.add_row(
            row["name"],
            str(row["samples"]),
            f"{row['float_error']:.1e}",
            show(row["float_points"]),
            show(row["int8_points"]),
            f"{row['drop']:+.2f}",
            f"{row['constants_ratio']:.3f}",
            shown_ratio(row["sqnr_db"]),
            shown_ratio(row["all_quantized_sqnr_db"]),
            str(len(row["kept_float"])),
            "" if ratio is None else f"{ratio:.2f}",
            f"{row['float_ms']:.3f}",
            f"{row['int8_ms']:.3f}",
            f"{row['build_seconds']:.0f}",
        )
    console.print(table)
    for row in rows:
        if row.get("kept_float"):
            console.print(f"{row['name']} in float: {', '.join(row['kept_float'])}", markup=False)


def print_sweep(rows: list[dict[str, Any]], console: Console) -> None:
    """Drop, number of operators kept in float, and milliseconds, for each setting of the guard."""
    headings = ["off" if db is None else f"{db:g} dB" for db in SWEEP_DB]
    table = Table("network", "float", "float ms", *(f"{h}: drop, kept, ms" for h in headings))
    for row in rows:
        cells = [
            f"{cell['drop']:+.2f}, {len(cell['kept_float'])}, {cell['int8_ms']:.3f}"
            for cell in row.get("sweep", [])
        ]
        if cells:
            table.add_row(row["name"], show(row["float_points"]), f"{row['float_ms']:.3f}", *cells)
    console.print(table)


def print_peers(rows: list[dict[str, Any]], console: Console) -> None:
    """Points that each peer's int8 loses."""
    table = Table("network", "float", "tvmcomp drop", *(f"{peer} drop" for peer in PEERS))
    for row in rows:
        if "peers" in row:
            drops = [
                "failed" if "error" in facts else f"{facts['drop']:+.2f}"
                for facts in row["peers"].values()
            ]
            mine = f"{row['drop']:+.2f}" if "drop" in row else ""
            table.add_row(row["name"], show(row["float_points"]), mine, *drops)
    console.print(table)
    for row in rows:
        for peer, facts in row.get("peers", {}).items():
            if "error" in facts:
                console.print(f"{row['name']}, {peer}: {facts['error']}", markup=False)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description=__doc__,
        epilog="example:\n  python -m benchmarks.accuracy dna-conv1d strokes-gru --peers\n"
        "  python -m benchmarks.accuracy --sweep kinds\n\n"
        "exit status: 0 every figure is as it should be, 1 one is not, 2 wrong command line",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = ", ".join(accuracy_cases.names())
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"kinds, zoo, or of {known}; all")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--limit", type=int, metavar="N", help="judge by at most N samples")
    parser.add_argument("--min-sqnr", metavar="DB", help="the guard's setting, or off")
    parser.add_argument(
        "--round", choices=["nearest", "best"], default="best", help="integers of weights"
    )
    parser.add_argument(
        "--sweep", action="store_true", help="try the guard off and at 10, 15, 20, 25 and 30 dB"
    )
    parser.add_argument(
        "--peers",
        action="store_true",
        help="also ONNX Runtime's and NNCF's int8; $TVMCOMP_PEERS_PYTHON names a Python that has "
        "openvino, nncf, onnx and onnxruntime",
    )
    return parser


def chosen_names(parser: argparse.ArgumentParser, names: list[str]) -> list[str]:
    """The networks asked for; kinds and zoo stand for all of theirs."""
    groups = {"kinds": list(kinds.KINDS), "zoo": list(accuracy_cases.ZOO_SCORES)}
    result = [one for name in names for one in groups.get(name, [name])]
    unknown = [name for name in result if name not in accuracy_cases.names()]
    if unknown:
        parser.error(f"no network is called {unknown[0]!r}")
    return result or accuracy_cases.names()


def guard_setting(parser: argparse.ArgumentParser, text: str | None) -> QuantConfig:
    """The configuration for --min-sqnr."""
    if text is None:
        return QuantConfig()
    try:
        return QuantConfig(min_sqnr_db=None if text == "off" else float(text))
    except ValueError as error:
        parser.error(f"--min-sqnr {text}: {error}")


def main(arguments: list[str] | None = None) -> int:
    """Judge the networks; the exit status."""
    parser = build_parser()
    args = parser.parse_args(arguments)
    args.config = replace(guard_setting(parser, args.min_sqnr), round=args.round)
    rows = []
    for name in chosen_names(parser, args.names):
        print(f"judging {name}", file=sys.stderr)
        try:
            rows.append(judge_network(accuracy_cases.load(name, args.limit), args))
        except ZooError as error:
            print(f"benchmarks.accuracy: {error}", file=sys.stderr)
            return 1
        except Exception as error:  # noqa: BLE001  the table says what fails, and goes on
            rows.append({"name": name, "error": f"{type(error).__name__}: {error}"})
        for problem in missed(rows[-1]):  # said at once: all the networks take a while
            print(f"{name}: {problem}", file=sys.stderr)
    problems = {row["name"]: missed(row) for row in rows}
    if args.json:
        print(json.dumps([{**row, "missed": problems[row["name"]]} for row in rows], indent=2))
    else:
        console = Console(width=None if sys.stdout.isatty() else 200)
        (print_sweep if args.sweep else print_table)(rows, console)
        if args.peers:
            print_peers(rows, console)
        for name, found in problems.items():
            for problem in found:
                console.print(f"{name}: {problem}", markup=False)
    return int(any(problems.values()))


if __name__ == "__main__":
    sys.exit(main())
