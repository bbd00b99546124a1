"""The comparison as plain values, and as tables for a person."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.peers.isa import Isa
from benchmarks.peers.models import Made
from benchmarks.peers.turns import Contestant, error_share

OURS = "tvmcomp"


@dataclass(frozen=True)
class Heat:
    """One network on one number of threads: all contestants, the files that they ran, and the share
    of the machine's time that went to other programs meanwhile.
    """

    network: str
    threads: int
    trained: bool
    contestants: Sequence[Contestant]
    made: dict[tuple[str, str], Made]
    disturbance: float


def heat_rows(heat: Heat, isa: Isa) -> list[dict[str, Any]]:
    """One row for each precision: latencies in ms, ratios peer / ours, and ours' size and build."""
    measured = {(c.engine, c.precision): c for c in heat.contestants}
    # The float network in an engine that isn't ours is what every output is compared with.
    reference = next(
        (c for c in heat.contestants if c.engine != OURS and c.precision == "fp32" and c.blocks),
        None,
    )
    rows = []
    for precision in dict.fromkeys(c.precision for c in heat.contestants):
        entered = [c for c in heat.contestants if c.precision == precision]
        row: dict[str, Any] = {
            "network": heat.network,
            "trained": heat.trained,
            "threads": heat.threads,
            "precision": precision,
            "disturbance": heat.disturbance,
            "engines": {c.engine: _engine_values(c, reference) for c in entered},
            "ratios": {},
            "ratio": None,
        }
        ours = measured.get((OURS, precision))
        if ours and ours.blocks:
            ratios = {c.engine: paired(c, ours) for c in entered if c.engine != OURS and c.blocks}
            counted = [c.engine for c in entered if c.engine in isa.held]
            row["ratios"] = ratios
            # A peer that failed could have been the faster one.
            if counted and all(engine in ratios for engine in counted):
                row["ratio"] = min(ratios[engine] for engine in counted)
            own_float = measured.get((OURS, "fp32"))
            if precision != "fp32" and own_float and own_float.blocks:
                row["own_fp32_ratio"] = paired(own_float, ours)
        if made := heat.made.get((OURS, precision)):
            row["build_seconds"] = made.seconds
            row["build_peak_mib"] = made.peak_mib
            row["artifact_bytes"] = made.path.stat().st_size
            row["stale"] = made.stale
        rows.append(row)
    return rows


def paired(theirs: Contestant, ours: Contestant) -> float:
    """The ratio of their latency to ours: the median over the rounds, so that what disturbs a whole
    round cancels.
    """
    return median(t / o for t, o in zip(theirs.blocks, ours.blocks, strict=False))


def _engine_values(contestant: Contestant, reference: Contestant | None) -> dict[str, Any]:
    if contestant.failure:
        return {"failure": contestant.failure}
    values: dict[str, Any] = {
        "version": contestant.version,
        "ms": contestant.ms,
        "spread": contestant.spread,
        "blocks_ms": contestant.blocks,
        "load_ms": contestant.load_ms,
        "peak_mib": contestant.peak_mib,
    }
    if reference is not None:
        values["error"] = error_share(contestant.outputs, reference.outputs)
    return values


def summaries(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each precision and number of threads: the ratios' geometric mean and least."""
    result = []
    for precision, threads in dict.fromkeys((row["precision"], row["threads"]) for row in rows):
        mine = [row for row in rows if (row["precision"], row["threads"]) == (precision, threads)]
        ratios = {row["network"]: row["ratio"] for row in mine if row["ratio"] is not None}
        if not ratios:
            continue
        least = min(ratios, key=lambda name: ratios[name])
        mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
        summary = {
            "precision": precision,
            "threads": threads,
            "networks": len(ratios),
            "of": len(mine),
            "geometric_mean": mean,
            "minimum": ratios[least],
            "minimum_network": least,
        }
        slower = [row["network"] for row in mine if row.get("own_fp32_ratio", 1) < 1]
        if any("own_fp32_ratio" in row for row in mine):
            summary["slower_than_own_fp32"] = slower
        result.append(summary)
    return result


def failures(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What could not be measured, a line each."""
    return [
        f"{row['network']} {row['precision']}, {row['threads']} threads: {engine}: "
        + values["failure"]
        for row in rows
        for engine, values in row["engines"].items()
        if "failure" in values
    ]


def print_report(document: dict[str, Any], console: Console) -> None:
    """Print the machine, a table for each precision and number of threads, and the summaries."""
    machine = document["machine"]
    console.print(
        f"{machine['cpu']}, {machine['cpus']} CPUs, with {' '.join(machine['has'])}; "
        f"without {' '.join(machine['lacks']) or 'none of the others'}",
        soft_wrap=True,
    )
    if document["note"]:
        console.print(document["note"], soft_wrap=True)
    rows = document["rows"]
    for summary in dict.fromkeys((row["precision"], row["threads"]) for row in rows):
        precision, threads = summary
        mine = [row for row in rows if (row["precision"], row["threads"]) == summary]
        console.print(_table(f"{precision}, {threads} threads, batch 1", mine))
    for summary in document["summaries"]:
        slower = summary.get("slower_than_own_fp32")
        console.print(
            f"{summary['precision']}, {summary['threads']} threads: geometric mean "
            f"{summary['geometric_mean']:.2f} against the faster peer, least "
            f"{summary['minimum']:.2f} ({summary['minimum_network']}), {summary['networks']} of "
            f"{summary['of']} networks"
            + (f"; slower than our own fp32: {', '.join(slower)}" if slower else ""),
            soft_wrap=True,
        )
    console.print(
        "± is half the interquartile range of the rounds; error: root mean square of our "
        "difference to a peer's float network, over its outputs' deviation; others: the share of "
        "the machine's time that other programs took",
        soft_wrap=True,
    )
    if any(row.get("stale") for row in rows):
        console.print("artifacts marked * were built from older sources than those here")
    for failure in failures(rows):
        console.print(f"FAILED: {failure}", markup=False, soft_wrap=True)


def _table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    engines = list(dict.fromkeys(engine for row in rows for engine in row["engines"]))
    table = Table(title=title)
    table.add_column("network")
    for engine in engines:
        table.add_column(f"{engine} ms", justify="right")
    for heading in ("ratio", "to own fp32", "error", "build s", "MiB", "others"):
        table.add_column(heading, justify="right")
    for row in rows:
        ours = row["engines"].get(OURS, {})
        table.add_row(
            row["network"] + ("" if row["trained"] else " (untrained)"),
            *(_latency(row["engines"].get(engine)) for engine in engines),
            _number(row["ratio"]),
            _number(row.get("own_fp32_ratio")),
            f"{ours['error']:.0e}" if "error" in ours else "",
            _number(row.get("build_seconds"), 1) + ("*" if row.get("stale") else ""),
            f"{row['artifact_bytes'] / 2**20:.1f}" if "artifact_bytes" in row else "",
            f"{row['disturbance']:.0%}",
        )
    return table


def _latency(values: dict[str, Any] | None) -> str:
    if values is None:
        return ""
    if "failure" in values:
        return "failed"
    return f"{values['ms']:.2f} ±{values['spread'] / 2:.0%}"


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"
