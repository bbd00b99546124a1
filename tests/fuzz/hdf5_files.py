"""Keras's HDF5 files, whose configuration is an attribute."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from random import Random

import evil
import hdf5_edits
import keras_zips
import odd

from tvmcomp.frontend.keras import files

_CONFIG = "model_config"


@cache
def _seed() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.h5"
        keras_zips.network().save(path)
        return path.read_bytes()


def warm_up() -> None:
    """Load what every input needs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.h5"
        path.write_bytes(_seed())
        files.convert(path, Path(folder), backend="torch")


def make(rng: Random, folder: Path) -> Path:
    """Write one input."""
    data, path, kind = _seed(), folder / "net.h5", rng.randrange(4)
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


def read(path: Path) -> None:
    """Turn it into ONNX."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            files.convert(path, Path(folder), backend="torch")
    finally:
        evil.check(path.parent)
