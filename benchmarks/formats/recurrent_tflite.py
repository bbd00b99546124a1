"""Write recurrent networks as TensorFlow Lite files with int8 weights.

It runs with a Python that has TensorFlow (`pip install tensorflow-cpu tf_keras`), and needs nothing
of tvmcomp. What is written LiteRT calls hybrid: data is rounded to 8 bits as the network runs.

    python benchmarks/formats/recurrent_tflite.py FOLDER KIND-STEPS-BATCH-UNITS ...
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

_LAYERS = 2


def write(kind: str, steps: int, batch: int, units: int, out: Path) -> None:
    """Two layers of both directions, with random weights; data is ``[batch, steps, units]``.

    Keras 2's LSTM becomes one operator, its GRU a loop.
    """
    import tensorflow as tf
    import tf_keras

    x = inputs = tf_keras.Input((steps, units), batch_size=batch)
    for _ in range(_LAYERS):
        cell = tf_keras.layers.SimpleRNN if kind == "RNN" else getattr(tf_keras.layers, kind)
        x = tf_keras.layers.Bidirectional(cell(units, return_sequences=True))(x)
    model = tf_keras.Model(inputs, x)
    signature = tf.TensorSpec((batch, steps, units), tf.float32, name="x")
    function = tf.function(lambda x: model(x, training=False))
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(model, folder, signatures=function.get_concrete_function(signature))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        out.write_bytes(converter.convert())


if __name__ == "__main__":
    for name in sys.argv[2:]:
        kind, *sizes = name.split("-")
        write(kind, *map(int, sizes), Path(sys.argv[1]) / f"{name}.tflite")
