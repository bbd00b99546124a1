"""The kinds: how each network is judged, its ONNX file, and its training."""

from __future__ import annotations

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
from benchmarks.kinds import recurrent_data
from benchmarks.kinds import score as kinds_score
from benchmarks.processes import environment
from benchmarks.zoo.environment import EXPORT_PINS, export_python
from benchmarks.zoo.packages import (
    ZooError,
    cache_folder,
    locked,
    read_note,
    sha256_of,
    written_whole,
)

SCRIPTS = ("data.py", "networks.py", "train.py")
#: Those of the recurrent networks.
RECURRENT_SCRIPTS = ("data.py", "recurrent_data.py", "recurrent_networks.py", "train_recurrent.py")

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
        Kind(
            "name-bigru",
            "GRU in both directions, two layers: a name's country (faker's lists)",
            {"scores": kinds_score.top1},
        ),
        Kind(
            "names-bilstm",
            "LSTM in both directions as a tagger: each letter's country (faker's lists)",
            {"scores": kinds_score.top1},
        ),
        Kind(
            "digits-crnn",
            "convolutions and an LSTM along the columns, as text is recognized (MNIST)",
            {"scores": kinds_score.top1},
        ),
    )
}


def fetch(name: str) -> Path:
    """The network's ONNX file in the cache; trained the first time, or when its scripts change."""
    path = cache_folder() / "kinds" / f"{name}.onnx"
    note = path.with_suffix(".json")  # written last: without it the file isn't taken as finished
    here = Path(__file__).parent
    scripts = RECURRENT_SCRIPTS if name in recurrent_data.SOURCES else SCRIPTS
    source = {
        "scripts": {script: sha256_of(here / script) for script in scripts},
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
    module = "train_recurrent" if name in recurrent_data.SOURCES else "train"
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "train.npz"
        np.savez(
            data,
            **{f"input_{key}": array for key, array in rows.inputs.items()},
            **{f"target_{key}": array for key, array in rows.targets.items()},
        )
        command = [str(export_python()), "-W", "ignore", "-m", f"benchmarks.kinds.{module}", name]
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
