"""SavedModels: bytes of the graph and of the variables are others, files are missing or links."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from random import Random

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import evil
import odd
import tensorflow as tf

from tvmcomp.frontend.keras import saved_model


class _Network(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = tf.Variable(tf.ones((4, 3)), name="weight")

    @tf.function(input_signature=[tf.TensorSpec([2, 4], tf.float32, name="x")])
    def run(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(x @ self.weight)


@cache
def _seed() -> Path:
    path = Path(tempfile.mkdtemp(prefix="fuzz-saved-")) / "net"
    network = _Network()
    tf.saved_model.save(network, str(path), signatures=network.run)
    return path


def warm_up() -> None:
    """Load what every input needs."""
    with tempfile.TemporaryDirectory() as folder:
        saved_model.convert(_seed(), Path(folder))


def make(rng: Random, folder: Path) -> Path:
    """Write one input."""
    path = folder / "net"
    shutil.copytree(_seed(), path)
    inside = sorted(each for each in path.rglob("*") if each.is_file())
    graph = path / "saved_model.pb"
    chosen, kind = rng.choice([graph, graph, *inside]), rng.randrange(6)
    if kind < 3:
        chosen.write_bytes(odd.damaged(chosen.read_bytes(), rng))
    elif kind == 3:
        chosen.unlink()
    elif kind == 4:
        chosen.unlink()
        chosen.symlink_to(rng.choice(["/etc/passwd", "/dev/zero", "/nowhere", str(chosen)]))
    else:  # graphs in graphs: a field of 2 within another, thousands deep
        nested = b""
        for _ in range(rng.choice([50, 200, 5000])):
            size, length = len(nested), b""
            while True:
                size, low = size >> 7, size & 127
                length += bytes([low | (128 if size else 0)])
                if not size:
                    break
            nested = b"\x12" + length + nested
        chosen.write_bytes(chosen.read_bytes() + nested)
    return path


def read(path: Path) -> None:
    """Turn it into ONNX."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            saved_model.convert(path, Path(folder))
    finally:
        evil.check(path.parent)
