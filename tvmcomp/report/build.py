"""The build report: what was decided for each operator and why, for a person and as JSON."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from tvmcomp.artifact.artifact import Artifact


def build_report(artifact: Artifact, path: Path) -> dict[str, Any]:
    """Everything that the report shows, as JSON-ready values; sizes in bytes, ratios in dB."""
    metadata = artifact.metadata
    return {
        "artifact": str(path),
        "artifact_bytes": path.stat().st_size,
        "constants_bytes": artifact.constants_nbytes,
        "target": metadata.target.name,
        "quant": metadata.quant,
        "signature": msgspec.to_builtins(metadata.signature),
        "calibration": metadata.calibration,
        "operators": msgspec.to_builtins(metadata.operators),
        "notes": list(metadata.notes),
    }


def print_report(report: dict[str, Any], console: Console) -> None:
    """Print the report: a table of operators, then sizes and notes."""
    operators = report["operators"]
    if report["quant"] == "int8":
        console.print(_operator_table(operators))
    counts = Counter(operator["dtype"] for operator in operators if operator["macs"])
    kinds = ", ".join(f"{count} in {dtype}" for dtype, count in counts.most_common())
    console.print(
        f"{report['artifact']}: {report['artifact_bytes'] / 2**20:.2f} MiB, constants "
        f"{report['constants_bytes'] / 2**20:.2f} MiB, for {report['target']}; "
        f"operators with weights or products: {kinds or 'none'}",
        soft_wrap=True,
    )
    calibration = report["calibration"]
    if "sqnr_db" in calibration:
        console.print(
            f"outputs on {calibration['samples']} calibration samples: "
            f"{calibration['sqnr_db']:.1f} dB signal to quantization noise"
        )
    for note in report["notes"]:
        console.print(f"note: {note}", soft_wrap=True, markup=False)


def _operator_table(operators: list[dict[str, Any]]) -> Table:
    table = Table("operator", "kind", "runs in", "SQNR dB", "M MAC", "why not int8")
    for operator in operators:
        shown = operator["macs"] or (operator["dtype"] == "int8" and operator["sqnr_db"])
        if not shown and operator["reason"] in (None, "in the registers of its anchor"):
            continue
        ratio = operator["sqnr_db"]
        table.add_row(
            operator["name"],
            operator["kind"],
            operator["dtype"],
            "" if ratio is None else f"{ratio:.1f}",
            f"{operator['macs'] / 1e6:.2f}" if operator["macs"] else "",
            operator["reason"] or "",
        )
    return table
