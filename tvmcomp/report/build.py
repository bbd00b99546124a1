"""The build report: what was decided for each operator and why, for a person and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.model import Operator
from tvmcomp.report.operators import print_operators


def build_report(artifact: Artifact, path: Path) -> dict[str, Any]:
    """Everything that the report shows, as JSON-ready values; sizes in bytes, ratios in dB."""
    metadata = artifact.metadata
    return {
        "artifact": str(path),
        "artifact_bytes": path.stat().st_size,
        "constants_bytes": artifact.constants_nbytes,
        "constants_bytes_in_file": artifact.constants_nbytes_in_file,
        "target": metadata.target.name,
        "quant": metadata.quant,
        "signature": msgspec.to_builtins(metadata.signature),
        "variants": msgspec.to_builtins(metadata.variants),
        "calibration": metadata.calibration,
        "operators": msgspec.to_builtins(metadata.operators),
        "notes": list(metadata.notes),
    }


def print_report(report: dict[str, Any], console: Console, *, show_all: bool = False) -> None:
    """Print the report: the operators that matter, or all of them, then sizes and notes."""
    operators = msgspec.convert(report["operators"], list[Operator])
    print_operators(operators, console, runs_in="runs in", show_all=show_all)
    counts = Counter(operator.dtype for operator in operators if operator.macs)
    kinds = ", ".join(f"{count} in {dtype}" for dtype, count in counts.most_common())
    console.print(
        f"{report['artifact']}: {report['artifact_bytes'] / 2**20:.2f} MiB, constants "
        f"{_constants(report)}, for {report['target']}; "
        f"operators with weights or products: {kinds or 'none'}",
        soft_wrap=True,
    )
    calibration = report["calibration"]
    if "sqnr_db" in calibration:
        console.print(
            f"outputs: at least {calibration['sqnr_db']:.1f} dB signal to quantization noise, on "
            f"{_judged_on(calibration)}; weights rounded: {calibration['rounding']}",
            soft_wrap=True,
        )
    for note in report["notes"]:
        console.print(f"note: {note}", soft_wrap=True, markup=False)


def _constants(report: dict[str, Any]) -> str:
    """Their size in memory and, where it is another, in the file."""
    memory, file = report["constants_bytes"], report["constants_bytes_in_file"]
    shown = f"{memory / 2**20:.2f} MiB"
    return shown if file == memory else f"{shown} ({file / 2**20:.2f} MiB in the file)"


def _judged_on(calibration: Mapping[str, Any]) -> str:
    """The samples that the outputs were judged on."""
    judged_on, samples = calibration["judged_on"], calibration["samples"]
    if calibration["held_out"]:
        return f"{judged_on} of {samples} calibration samples that nothing was fitted on"
    return f"the {judged_on} calibration samples that ranges were fitted on"
