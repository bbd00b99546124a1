"""What TensorFlow's Model Optimization toolkit prunes: its schedule and masks, as JSON.

``tests/compress/sparsify/toolkit_pruning.json`` is what this prints. It runs in an environment of
its own, as the toolkit needs Keras 2:

    python -m venv toolkit
    toolkit/bin/pip install tensorflow-cpu tf_keras tensorflow-model-optimization
    toolkit/bin/python benchmarks/compress/toolkit_pruning.py > tests/compress/sparsify/toolkit_pruning.json
"""  # noqa: E501

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version

import numpy as np

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tensorflow as tf
from tensorflow_model_optimization.python.core.sparsity.keras.pruning_impl import Pruning
from tensorflow_model_optimization.python.core.sparsity.keras.pruning_schedule import (
    PolynomialDecay,
)

#: Start, final sparsity, begin, end, power, frequency.
_RISES = [
    (0.0, 0.8, 0, 1000, 3, 100),
    (0.5, 0.9, 200, 1100, 3, 50),
    (0.2, 0.6, 7, 91, 1, 12),  # the last update is at the end
    (0.0, 0.95, 10, 100, 2, 40),  # the last update is before the end
]
#: Shape of a matrix, and its blocks. The toolkit's blocks fit where they divide the matrix.
_MATRICES = [
    ((24, 18), (1, 1)),
    ((33, 10), (1, 1)),
    ((5, 1), (1, 1)),  # of so few at least one stays
    ((5, 5), (1, 1)),  # 2.5 of them are kept at 90%, but for an error of rounding
    ((32, 24), (16, 1)),
    ((32, 24), (16, 4)),
    ((30, 20), (3, 5)),
]


def rise(start: float, final: float, begin: int, end: int, power: int, frequency: int) -> dict:
    """The sparsity that each update of a schedule asks for, and the masks of each matrix then."""
    schedule = PolynomialDecay(start, final, begin, end, power, frequency)
    updates = {}
    for step in range(end + 2 * frequency):
        update, sparsity = schedule(tf.constant(step, tf.int64))
        if bool(update):
            updates[step] = float(sparsity)
    return {
        "settings": [start, final, begin, end, power, frequency],
        "updates": updates,
        "masks": [masks(schedule, list(updates), seed) for seed in range(len(_MATRICES))],
    }


def masks(schedule: PolynomialDecay, steps: list[int], seed: int) -> dict:
    """The masks of one matrix at each of some steps, each of what the mask before left: bits, in
    hexadecimal."""
    shape, block = _MATRICES[seed]
    weights = tf.Variable(np.random.default_rng(seed).normal(size=shape).astype(np.float32))
    found = []
    for step in steps:
        pruning = Pruning(
            lambda step=step: tf.constant(step, tf.int64), [], schedule, list(block), "AVG"
        )
        _, mask = pruning._maybe_update_block_mask(weights)
        weights.assign(weights * mask)
        found.append(np.packbits(mask.numpy().astype(bool).reshape(-1)).tobytes().hex())
    return {"seed": seed, "shape": shape, "block": block, "masks": found}


if __name__ == "__main__":
    made = {
        "toolkit": version("tensorflow-model-optimization"),
        "rises": [rise(*each) for each in _RISES],
    }
    json.dump(made, sys.stdout)
    print()
