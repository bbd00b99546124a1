"""Small networks of many kinds, trained here on real data, to judge what int8 does to them.

Each stands for something that quantization is known to harm: one-hot inputs, attention, outputs of
different ranges, saturating activations, gates, unequal channels. The data comes out of PyPI
packages of fixed versions and digests; training takes seconds to a minute each on one core. The
results lie beside the zoo's: in $TVMCOMP_ZOO, or ~/.cache/tvmcomp-zoo.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from benchmarks.kinds import data as kinds_data
from benchmarks.kinds.catalogue import KINDS, fetch, judge, run_float
from benchmarks.zoo.commands import Command, run
from benchmarks.zoo.packages import cache_folder, written_whole

EPILOG = """example:
  python -m benchmarks.kinds fetch dna-conv1d
  python -m benchmarks.kinds check dna-conv1d

exit status: 0 done, 1 a download or a training failed, 2 wrong command line"""


def list_command(args: argparse.Namespace) -> list[dict]:
    """Describe every network."""
    return [
        {
            "name": kind.name,
            "summary": kind.summary,
            "outputs": {key: score.__name__ for key, score in kind.scores.items()},
            "fetched": (cache_folder() / "kinds" / f"{kind.name}.json").exists(),
        }
        for kind in KINDS.values()
    ]


def fetch_command(args: argparse.Namespace) -> list[dict]:
    """Train the networks."""
    rows = []
    for name in args.names or KINDS:
        path = fetch(name)
        rows.append({"name": name, "path": str(path), "bytes": path.stat().st_size})
    return rows


def data_command(args: argparse.Namespace) -> list[dict]:
    """Write calib.npz and eval.npz, as `tvmcomp build --calibration` and `eval` read them."""
    rows = []
    for name in args.names:
        split = kinds_data.split(name)
        targets = split.evaluation.targets
        label = {"label": next(iter(targets.values()))} if len(targets) == 1 else {}
        for file, arrays in (
            ("calib.npz", split.calibration.inputs),
            ("eval.npz", {**split.evaluation.inputs, **label}),
        ):
            path = cache_folder() / "kinds" / name / file
            with written_whole(path) as part:
                np.savez_compressed(part, **arrays)
            shapes = {key: list(array.shape) for key, array in arrays.items()}
            rows.append({"name": name, "path": str(path), "shapes": shapes})
    return rows


def check_command(args: argparse.Namespace) -> list[dict]:
    """Judge the float networks."""
    rows = []
    for name in args.names or KINDS:
        evaluation = kinds_data.split(name).evaluation
        outputs = run_float(fetch(name), evaluation.inputs)
        points = judge(name, outputs, evaluation.targets)
        rows.append({"name": name, "samples": len(evaluation), **points})
    return rows


COMMANDS = (
    Command("list", list_command, "", "say what networks there are; trains nothing"),
    Command(
        "fetch", fetch_command, "*", "train and write the ONNX files (all, if no name is given)"
    ),
    Command("data", data_command, "+", "write calib.npz and eval.npz into the cache"),
    Command(
        "check",
        check_command,
        "*",
        "judge the float networks on the rows held out, in ONNX Runtime",
    ),
)


if __name__ == "__main__":
    sys.exit(run("benchmarks.kinds", __doc__, EPILOG, COMMANDS, KINDS))
