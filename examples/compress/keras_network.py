"""A Keras network, trained here and made smaller: 4-bit weights, with what that costs learned back.

The model goes in as it is: through ONNX, in memory. A network that is in a file (`.keras`, `.h5`)
does it with the command as well: `tvmcomp compress net.keras -o small.onnx --data … --bits 4`.

    python examples/compress/keras_network.py --epochs 5 --budget 60 -o digits-4bit.onnx
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")  # what tvmcomp[keras] installs

import keras
import numpy as np
from rich.console import Console

import tvmcomp
from tvmcomp.report.compress import print_proof

MNIST = Path(__file__).parents[1] / "mnist"

# %% What is asked for
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--budget", type=float, default=60, help="seconds to learn back in")
parser.add_argument("--measure", action="store_true", help="build and time it, too")
parser.add_argument("-o", "--output", default="digits-4bit.onnx")
arguments = parser.parse_args()
keras.utils.set_random_seed(0)

# %% Images of digits, channels last as Keras has them
with np.load(MNIST / "test.npz") as data:
    images, labels = data["x"].transpose(0, 2, 3, 1), data["label"]
order = np.random.default_rng(0).permutation(len(images))
train, test = order[:1500], order[1500:]

# %% A network of one's own, trained
network = keras.Sequential(
    [
        keras.Input((28, 28, 1), name="image"),
        keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
        keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(10),
    ]
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
network.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
network.fit(images[train], labels[train], batch_size=50, epochs=arguments.epochs, verbose=2)

# %% Smaller; the labels are for the judgement alone
result = tvmcomp.compress(
    network,
    arguments.output,
    [{"image": image[None]} for image in images[train]],
    eval={"image": images[test], "label": labels[test]},
    bits=4,
    distil=True,
    budget=arguments.budget,
    measure=arguments.measure,
    shapes={"image": (1, 28, 28, 1)},
)
print_proof(result.proof, Console())
