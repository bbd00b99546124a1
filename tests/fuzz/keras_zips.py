"""Keras's archives: configurations, weights and headers are others."""

from __future__ import annotations

import json
import os
import tempfile
from functools import cache
from pathlib import Path
from random import Random

os.environ.setdefault("KERAS_BACKEND", "torch")
import evil
import hdf5_edits
import keras
import odd
import zips

from tvmcomp.frontend.keras import files

layers = keras.layers
_CODE = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "StringLookup", "FileBackedLayer", "Popen")


def network() -> keras.Model:
    """A network of the layers that most have."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [layers.Input((6, 4)), layers.Conv1D(5, 3, activation="relu"), layers.GRU(4),
         layers.Dense(3, activation="softmax")]
    )  # fmt: skip


@cache
def saved(name: str) -> bytes:
    """The network as a file called `name`, whose ending says the format."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        network().save(path)
        return path.read_bytes()


def warm_up(name: str = "net.keras") -> None:
    """Load what every input of the format needs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(saved(name))
        files.convert(path, Path(folder), backend="torch")


def make(rng: Random, folder: Path) -> Path:
    """Write one input."""
    data, path = saved("net.keras"), folder / "net.keras"
    members, kind = dict(zips.unpacked(data)), rng.randrange(8)
    if kind in (0, 1, 2):
        config = json.loads(members["config.json"])
        if kind == 0:  # another class
            chosen = rng.choice(config["config"]["layers"])
            chosen["class_name"] = rng.choice(_CODE)
            chosen["module"] = rng.choice(["keras.layers", "os", "subprocess", "keras.src", None])
        else:
            config = odd.edited(config, rng)
        members["config.json"] = odd.json_text(config)
    elif kind in (3, 4):
        weights = members["model.weights.h5"]
        members["model.weights.h5"] = (
            odd.damaged(weights, rng) if kind == 3 else hdf5_edits.edited(weights, rng)
        )
    elif kind == 5:
        members["assets/../../x.pkl"] = evil.pickled(folder)
    data = zips.packed(list(members.items()))
    if kind == 6:
        data = zips.lying(data, rng)
    elif kind == 7:
        members_ = zips.shuffled(list(members.items()), rng)
        data = zips.packed(members_, zips.method(rng))
    path.write_bytes(data)
    return path


def read(path: Path) -> None:
    """Turn it into ONNX."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            files.convert(path, Path(folder), backend="torch")
    finally:
        evil.check(path.parent)
