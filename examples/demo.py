"""Compile a small trained network in float and in int8, measure both here, and compare them.

Every figure of the table comes from the ``tvmcomp`` commands that are printed on the way. Run it
with ``make demo``; the artifacts stay in ``demo/``.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

MNIST = Path(os.path.relpath(Path(__file__).parent / "mnist"))
#: What else runs here disturbs: float and int8 take turns, and the best turn of each counts.
TURNS = 5

console = Console(highlight=False)


@dataclass(frozen=True)
class Figures:
    """What one artifact costs and how well it does."""

    artifact_bytes: int
    constants_bytes: int
    latency_ms: float
    accuracy: float


def tvmcomp(*arguments: str | Path, show: bool = True) -> dict[str, Any]:
    """Run a ``tvmcomp`` command; return the JSON document that it prints."""
    words = [str(argument) for argument in arguments]
    if show:
        console.print(f"[bold]$ tvmcomp {shlex.join(words)}[/bold]", soft_wrap=True)
    program = Path(sys.executable).with_name("tvmcomp")
    done = subprocess.run([program, *words, "--json"], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(done.returncode)  # its message is on standard error
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def measure(folder: Path) -> dict[str, Figures]:
    """Build the example in float and int8 into ``folder``; return the figures of both."""
    options = {"float32": [], "int8": ["--quant", "int8", "--calibration", MNIST / "calib.npz"]}
    paths = {name: folder / f"mnist-{name}.tvmc" for name in options}
    built = {
        name: tvmcomp("build", MNIST / "model.onnx", "-o", paths[name], *extra)
        for name, extra in options.items()
    }
    latencies: dict[str, list[float]] = {name: [] for name in options}
    for turn in range(TURNS):
        for name, path in paths.items():
            latencies[name].append(tvmcomp("bench", path, show=turn == 0)["p50_ms"])
    evaluated = tvmcomp(
        "eval", paths["int8"], "--float", paths["float32"], "--data", MNIST / "test.npz"
    )
    accuracy = {"float32": evaluated["float_value"], "int8": evaluated["value"]}
    return {
        name: Figures(
            artifact_bytes=built[name]["artifact_bytes"],
            constants_bytes=built[name]["constants_bytes_in_file"],
            latency_ms=min(latencies[name]),
            accuracy=accuracy[name],
        )
        for name in options
    }


def comparison(figures: dict[str, Figures], title: str) -> Table:
    """A table of float beside int8."""
    float32, int8 = figures["float32"], figures["int8"]
    table = Table("", title=title)
    for column in ("float32", "int8", "int8 / float32"):
        table.add_column(column, justify="right")
    for label, unit, before, after in (
        ("artifact", "KiB", float32.artifact_bytes / 1024, int8.artifact_bytes / 1024),
        ("the weights in it", "KiB", float32.constants_bytes / 1024, int8.constants_bytes / 1024),
        ("median latency", "ms", float32.latency_ms, int8.latency_ms),
    ):
        row = (f"{before:.4g} {unit}", f"{after:.4g} {unit}", f"{after / before:.2f}")
        table.add_row(label, *row)
    points = int8.accuracy - float32.accuracy
    table.add_row(
        "accuracy on held-out images",
        f"{float32.accuracy:.2f}%",
        f"{int8.accuracy:.2f}%",
        f"{points:+.2f} points",
    )
    return table


def main() -> None:
    """Build, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder of the artifacts")
    folder: Path = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    machine = tvmcomp("targets", "detect")
    figures = measure(folder)
    console.print(comparison(figures, f"Handwritten digits on {machine['description']}"))


if __name__ == "__main__":
    main()
