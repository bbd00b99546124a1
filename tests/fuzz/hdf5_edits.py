"""HDF5 files with links out of them, huge datasets, other types and other attributes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random

import h5py
import numpy as np
import odd


def edited(data: bytes, rng: Random) -> bytes:
    """The file with one of its objects another."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "edited.h5"
        path.write_bytes(data)
        with h5py.File(path, "r+") as file:
            _edit(file, rng)
        return path.read_bytes()


def _edit(file: h5py.File, rng: Random) -> None:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
    name, kind = rng.choice(sorted(names)), rng.randrange(7)
    if kind == 6:
        key = rng.choice([*file.attrs, "model_config"])
        file.attrs[key] = rng.choice([b"{}", b"", "x" * 1000, 3, np.zeros(4)])
        return
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    if kind == 0:
        file[name] = h5py.ExternalLink("/etc/passwd", "/x")
    elif kind == 1:
        file[name] = h5py.SoftLink(rng.choice(["/nowhere", f"/{name}", "/"]))
    elif kind == 2:  # of a terabyte, of which nothing is written
        file.create_dataset(name, (1 << 40,), "uint8", chunks=(1 << 20,))
    elif kind == 3:
        file.create_dataset(name, shape, dtype, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])
    elif kind == 4:
        file[name] = np.zeros([abs(odd.integer(rng)) % 50 for _ in shape], "float32")
    else:
        file[name] = rng.choice([np.array(b"text"), np.zeros(shape, "int8"), np.float64(1)])
