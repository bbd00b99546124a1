"""Writes SavedModels, and what they give, in a process of its own: TensorFlow and TVM never meet.

python tests/frontend/saved_models.py FOLDER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
import keras
import numpy as np
import tensorflow as tf
from keras import layers


class Coder(tf.Module):
    """Two functions of one weight, and three that do more than compute."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = tf.Variable(tf.random.normal((4, 3)), name="weight")

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def encode(self, x):
        return {"code": tf.nn.relu(x @ self.weight)}

    @tf.function(input_signature=[tf.TensorSpec([2, 3], tf.float32, name="code")])
    def decode(self, code):
        return {"x": tf.matmul(code, self.weight, transpose_b=True)}

    @tf.function(input_signature=[tf.TensorSpec([2, 4], tf.float32, name="x")])
    def write(self, x):
        tf.io.write_file("fired", "x")
        return {"y": x}

    @tf.function(input_signature=[tf.TensorSpec([2, 4], tf.float32, name="x")])
    def read(self, x):
        return {"y": x + tf.strings.to_number(tf.io.read_file("/etc/hostname"))}

    @tf.function(input_signature=[tf.TensorSpec([2, 4], tf.float32, name="x")])
    def python(self, x):
        return {"y": tf.numpy_function(np.sin, [x], tf.float32)}


class AtLoad(tf.Module):
    """Writes a file where it is loaded: a table's initializer does."""

    class Table(tf.saved_model.experimental.TrackableResource):
        def _create_resource(self):
            return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[])

        def _initialize(self):
            tf.io.write_file("fired", "x")

    def __init__(self) -> None:
        super().__init__()
        self.table = self.Table()

    @tf.function(input_signature=[tf.TensorSpec([2, 4], tf.float32, name="x")])
    def only(self, x):
        return {
            "y": x
            + tf.raw_ops.ReadVariableOp(resource=self.table.resource_handle, dtype=tf.float32)
        }


def write(folder: Path) -> None:
    """Write all of them."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    coder = Coder()
    named = {name: getattr(coder, name) for name in ("encode", "decode", "write", "read", "python")}
    tf.saved_model.save(coder, str(folder / "several"), signatures=named)
    x = rng.normal(size=(2, 4)).astype("float32")
    code = coder.encode(x)["code"]
    np.savez(folder / "several.npz", x=x, code=code, back=coder.decode(code)["x"])
    at_load = AtLoad()
    tf.saved_model.save(at_load, str(folder / "at_load"), signatures={"only": at_load.only})
    sound = layers.Input((9, 4), name="sound")
    hidden = layers.Conv1D(6, 3, padding="same", activation="relu")(sound)
    hidden = layers.BatchNormalization()(hidden)
    hidden = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(hidden)
    hidden = layers.GlobalAveragePooling1D()(hidden)
    model = keras.Model(sound, layers.Dense(3, activation="softmax")(hidden))
    model.export(folder / "keras", verbose=False)
    x = rng.normal(size=(2, 9, 4)).astype("float32")
    np.savez(folder / "keras.npz", sound=x, output=model(x).numpy())


if __name__ == "__main__":
    write(Path(sys.argv[1]))
