"""Keras's HDF5 files, whose configuration is an attribute."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import hdf5_edits
import keras_zips
import odd

_CONFIG = "model_config"


def warm_up() -> None:
    """Load what every input needs."""
    keras_zips.warm_up("net.h5")


def make(rng: Random, folder: Path) -> Path:
    """Write one input."""
    data, path, kind = keras_zips.saved("net.h5"), folder / "net.h5", rng.randrange(4)
    if kind == 0:
        data = odd.damaged(data, rng)
    elif kind == 1:
        data = hdf5_edits.edited(data, rng)
    path.write_bytes(data)
    if kind > 1:
        with hdf5_edits.h5py.File(path, "r+") as file:
            text = odd.json_text(odd.edited(json.loads(file.attrs[_CONFIG]), rng))
            # Attributes hold 64 KiB.
            file.attrs[_CONFIG] = text[:60_000]
    return path


read = keras_zips.read
