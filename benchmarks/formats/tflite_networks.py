"""Train small networks with TensorFlow and write each in every way that its converter quantizes.

It runs with a Python that has TensorFlow (`pip install tensorflow-cpu tf_keras`), and needs nothing
of tvmcomp:

    python benchmarks/formats/tflite_networks.py OUT

Digits of examples/mnist: the first 1,500 train and calibrate, the last 500 judge, and lie beside
the networks in `judge.npz`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

DIGITS = Path(__file__).parents[2] / "examples" / "mnist" / "test.npz"
TRAINING = 1500
CALIBRATION = 200


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images [2000, 28, 28, 1] and their labels."""
    with np.load(DIGITS) as stored:
        images, labels = stored["x"], stored["label"]
    return images.transpose(0, 2, 3, 1).astype("float32"), labels


def cnn(k: Any) -> Any:
    """Convolutions of every kind that is common, with batch normalization."""
    x = inputs = k.Input((28, 28, 1))
    for filters, strides in ((16, 1), (32, 2), (48, 2)):
        x = k.layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)
        x = k.layers.BatchNormalization()(x)
        x = k.layers.ReLU(6.0)(x)
        y = k.layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
        x = k.layers.Add()([x, y])
    x = k.layers.Concatenate()([k.layers.MaxPool2D(2)(x), k.layers.AveragePooling2D(2)(x)])
    x = k.layers.Conv2DTranspose(24, 3, 2, padding="same", activation="relu")(x)
    x = k.layers.GlobalAveragePooling2D()(x)
    x = k.layers.Dense(64, activation="relu")(x)
    return k.Model(inputs, k.layers.Dense(10, activation="softmax")(x))


def mobilenet(k: Any) -> Any:
    """MobileNetV2, thin."""
    x = inputs = k.Input((28, 28, 1))
    x = k.layers.ZeroPadding2D(2)(x)
    x = k.layers.Concatenate()([x, x, x])
    base = k.applications.MobileNetV2((32, 32, 3), 0.35, include_top=False, weights=None)
    x = k.layers.GlobalAveragePooling2D()(base(x))
    return k.Model(inputs, k.layers.Dense(10)(x))


def _rows(k: Any) -> tuple[Any, Any]:
    inputs = k.Input((28, 28, 1))
    return inputs, k.layers.Reshape((28, 28))(inputs)


def lstm(k: Any) -> Any:
    """An LSTM over the rows of an image."""
    inputs, x = _rows(k)
    x = k.layers.LSTM(48, return_sequences=True)(x)
    x = k.layers.LSTM(32)(x)
    return k.Model(inputs, k.layers.Dense(10)(x))


def bilstm(k: Any) -> Any:
    """An LSTM in both directions."""
    inputs, x = _rows(k)
    x = k.layers.Bidirectional(k.layers.LSTM(32, return_sequences=True))(x)
    x = k.layers.GlobalAveragePooling1D()(x)
    return k.Model(inputs, k.layers.Dense(10)(x))


def gru(k: Any) -> Any:
    """A GRU, which the converter writes as a loop."""
    inputs, x = _rows(k)
    x = k.layers.GRU(32)(x)
    return k.Model(inputs, k.layers.Dense(10)(x))


def attention(k: Any) -> Any:
    """Two blocks of a transformer over the rows of an image."""
    inputs, x = _rows(k)
    x = k.layers.Dense(32)(x)
    for _ in range(2):
        y = k.layers.LayerNormalization()(x)
        x = k.layers.Add()([x, k.layers.MultiHeadAttention(4, 8)(y, y)])
        y = k.layers.Dense(64, activation="gelu")(k.layers.LayerNormalization()(x))
        x = k.layers.Add()([x, k.layers.Dense(32)(y)])
    x = k.layers.GlobalAveragePooling1D()(x)
    return k.Model(inputs, k.layers.Dense(10)(x))


#: Network -> what builds it, epochs, and whether Keras 2 does: its LSTM is converted to one
#: operator, Keras 3's to a loop.
NETWORKS: dict[str, tuple[Callable[[Any], Any], int, bool]] = {
    "cnn": (cnn, 15, False),
    "mobilenet": (mobilenet, 20, False),
    "lstm": (lstm, 12, True),
    "lstm-loop": (lstm, 12, False),
    "bilstm": (bilstm, 12, True),
    "gru": (gru, 12, False),
    "attention": (attention, 12, False),
}
WAYS = ("float", "fp16", "dynamic", "int8", "int8io", "uint8io", "int16x8")


def train(name: str, folder: Path) -> float:
    """Train a network and write it as a SavedModel for a batch of 1 to ``folder``.

    Returns:
        The share of the judging digits that it gets right.
    """
    import keras
    import tensorflow as tf
    import tf_keras

    build, epochs, old = NETWORKS[name]
    k = tf_keras if old else keras
    k.utils.set_random_seed(0)
    images, labels = digits()
    model = build(k)
    for layer in model._flatten_layers():
        if isinstance(layer, k.layers.BatchNormalization):
            layer.momentum = 0.9  # the default forgets too slowly for so few steps
    model.compile(
        k.optimizers.Adam(2e-3),
        k.losses.SparseCategoricalCrossentropy(from_logits=name != "cnn"),
        metrics=["accuracy"],
    )
    model.fit(images[:TRAINING], labels[:TRAINING], 32, epochs, verbose=0)
    accuracy = float(model.evaluate(images[TRAINING:], labels[TRAINING:], verbose=0)[1])
    signature = tf.TensorSpec((1, *images.shape[1:]), tf.float32, name="image")
    function = tf.function(lambda image: model(image, training=False))
    tf.saved_model.save(model, str(folder), signatures=function.get_concrete_function(signature))
    return accuracy


def convert(saved: Path, way: str, target: Path) -> None:
    """Convert a SavedModel, quantized in one way."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    images, _ = digits()

    def samples() -> Iterator[list[np.ndarray]]:
        for image in images[:CALIBRATION]:
            yield [image[None]]

    if NETWORKS[saved.stem][2]:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    else:  # Keras 3's variables are no constants to the converter
        loaded = tf.saved_model.load(str(saved))  # held: its variables go with it
        function = loaded.signatures["serving_default"]
        frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    if way != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if way == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    if way in ("int8", "int8io", "uint8io", "int16x8"):
        converter.representative_dataset = samples
        sets = tf.lite.OpsSet
        converter.target_spec.supported_ops = [
            sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
            if way == "int16x8"
            else sets.TFLITE_BUILTINS_INT8
        ]
        if way == "int8":  # what has no integer form stays float
            converter.target_spec.supported_ops.append(sets.TFLITE_BUILTINS)
    if way in ("int8io", "uint8io"):
        dtype = tf.int8 if way == "int8io" else tf.uint8
        converter.inference_input_type = converter.inference_output_type = dtype
    target.write_bytes(converter.convert())


def main(folder: Path, names: list[str]) -> None:
    """Write all networks, and what is said of each way that the converter can't go.

    Each step is a process of its own: the converter's calibration crashes on some networks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = digits()
    np.savez(folder / "judge.npz", image=images[TRAINING:], label=labels[TRAINING:])
    for name in names or NETWORKS:
        saved = folder / f"{name}.saved"
        if not saved.exists():
            print(_step("train", name, saved)[-1], flush=True)
        for way in WAYS:
            target = folder / f"{name}-{way}.tflite"
            if not target.exists():
                said = _step("convert", saved, way, target)
                size = target.stat().st_size if target.exists() else None
                what = f"{size:,} bytes" if size else said[-1][:150]
                print(f"  {name} {way}: {what}", flush=True)


def _step(*arguments: object) -> list[str]:
    """Run a step; what it said, and how it ended if not well."""
    done = subprocess.run(
        [sys.executable, __file__, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (done.stderr if done.returncode else done.stdout).splitlines()
    return [line for line in lines if line.strip()] or [f"ended with status {done.returncode}"]


if __name__ == "__main__":
    if sys.argv[1] == "train":
        print(f"{sys.argv[2]}: {train(sys.argv[2], Path(sys.argv[3])):.1%} of the judging digits")
    elif sys.argv[1] == "convert":
        convert(Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
    else:
        main(Path(sys.argv[1]), sys.argv[2:])
