"""Networks of the zoo on the emulated ARM board, against this machine and ONNX Runtime.

Each network is built in float and int8 for each ARM target, sent to the board through
``tvmcomp run --device``, and compared there with what it gives here: int8 with the x86 integer
build of the same calibration (share of elements within one of 255 steps of the output's range),
float with ONNX Runtime (largest difference, as a share of the range).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import tvmcomp
from benchmarks.processes import ROOT
from benchmarks.zoo import catalogue as zoo
from benchmarks.zoo import data as zoo_data

sys.path.insert(0, str(ROOT / "tests" / "board"))
from board import Board

STEPS = 255
ENOUGH = 0.999
MAX_FLOAT_ERROR = 1e-4
_CALIBRATION_SAMPLES = 32


def judge(network: str, target: str, samples: int, address: str, folder: Path) -> dict[str, Any]:
    """Build ``network`` for ``target``, run it on the board at ``address``, compare.

    Returns:
        ``within_one_step``: share of int8 elements; ``float_error``: share of the range.
    """
    shapes = zoo.NETWORKS[network].inputs
    model = zoo.fetch(network)
    calibration, evaluation = zoo_data.load(network)

    def sample(arrays: dict[str, np.ndarray], index: int) -> dict[str, np.ndarray]:
        return {name: array[index].reshape(shapes[name]) for name, array in arrays.items()}

    calibrated = [sample(calibration.inputs, i) for i in range(_CALIBRATION_SAMPLES)]
    inputs = [sample(evaluation.inputs, i) for i in range(samples)]
    int8 = {"quant": "int8", "calibration": calibrated}
    here = tvmcomp.load(tvmcomp.build(model, target="native", shapes=shapes, **int8))
    expected = {"int8": [here.run(x) for x in inputs]}
    expected["none"] = [zoo.run_float(network, x) for x in inputs]
    found: dict[str, list[np.ndarray]] = {"int8": [], "none": []}
    for quant, options in (("int8", int8), ("none", {})):
        artifact = folder / f"{network}-{target}-{quant}.tvmc"
        tvmcomp.build(model, target=target, shapes=shapes, **options).save(artifact)
        for x, wanted in zip(inputs, expected[quant], strict=True):
            given = _run(artifact, x, address, folder)
            for name, value in given.items():
                reference = wanted[name] if isinstance(wanted, dict) else wanted
                found[quant].append(np.abs(value - reference) / np.ptp(reference))
    steps = np.concatenate([difference.ravel() for difference in found["int8"]]) * STEPS
    return {
        "network": network,
        "target": target,
        "samples": samples,
        "within_one_step": float(np.mean(steps <= 1)),
        "largest_steps": float(steps.max()),
        "float_error": float(max(difference.max() for difference in found["none"])),
    }


def _run(artifact: Path, inputs: dict[str, np.ndarray], address: str, folder: Path) -> Any:
    """The outputs of ``tvmcomp run`` on the board."""
    given, taken = folder / "in.npz", folder / "out.npz"
    np.savez(given, **inputs)
    command = ["run", artifact, "--input", given, "-o", taken, "--device", address]
    subprocess.run(
        [sys.executable, "-c", "from tvmcomp.cli.main import main; main()", *map(str, command)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with np.load(taken, allow_pickle=False) as file:
        return dict(file)


def main() -> int:
    """Print a row for each network and target; exit status 1 where a figure is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.arm.on_board",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("networks", nargs="*", default=["text-direction", "orientation"])
    parser.add_argument("--targets", nargs="+", default=["arm", "rpi5"])
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    rows = []
    with Board() as board, tempfile.TemporaryDirectory() as folder:
        for network in options.networks:
            for target in options.targets:
                row = judge(network, target, options.samples, board.address, Path(folder))
                rows.append(row)
                print(row, file=sys.stderr)
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        table = Table("network", "target", "int8 within one step", "float against ONNX Runtime")
        for row in rows:
            share, error = f"{row['within_one_step']:.4%}", f"{row['float_error']:.1e}"
            table.add_row(row["network"], row["target"], share, error)
        Console().print(table)
    good = all(
        row["within_one_step"] >= ENOUGH and row["float_error"] <= MAX_FLOAT_ERROR for row in rows
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
