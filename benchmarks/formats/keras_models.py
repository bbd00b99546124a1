"""Networks of keras.applications, with random weights: ours beside Keras on torch, in float32.

`error` is the largest difference as a share of the output's largest value.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np

import tvmcomp
from benchmarks.formats.torch_models import ACCURACY, one_thread
from tvmcomp.api import build
from tvmcomp.errors import TvmcompError

#: Name -> side of the pictures. (Keras has no NASNet on torch.)
NETWORKS = {
    "MobileNet": 96,
    "MobileNetV2": 96,
    "MobileNetV3Small": 96,
    "EfficientNetB0": 96,
    "EfficientNetV2B0": 96,
    "ResNet50": 96,
    "ResNet50V2": 96,
    "DenseNet121": 96,
    "ConvNeXtTiny": 96,
    "Xception": 96,
    "InceptionV3": 96,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(NETWORKS)} [all]")


def run(args: argparse.Namespace) -> int:
    """Print a row for each network; 1 where one is refused or differs."""
    print(f"{'network':20} {'error':>9} {'export s':>9} {'build s':>8} {'nodes':>6}")
    names, failed = args.networks or list(NETWORKS), 0
    for name in names:
        try:
            error, exported, built, nodes = measure(name)
        except TvmcompError as error_:
            print(f"{name:20} refused: {' '.join(str(error_).split())[:300]}", flush=True)
            failed += 1
            continue
        failed += error > ACCURACY
        print(f"{name:20} {error:9.1e} {exported:9.1f} {built:8.1f} {nodes:6}", flush=True)
    print(f"{len(names) - failed} of {len(names)} agree")
    return int(failed > 0)


def measure(name: str) -> tuple[float, float, float, int]:
    """The error, the seconds of the export and of the build, and the nodes of the ONNX model."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    import torch

    keras.utils.set_random_seed(0)
    torch.set_num_threads(1)
    side = NETWORKS[name]
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(side, side, 3), classes=10, classifier_activation=None
    )
    x = np.random.default_rng(0).normal(size=(1, side, side, 3)).astype("float32")
    with torch.no_grad():
        expected = keras.ops.convert_to_numpy(model(x, training=False))
    start = time.perf_counter()
    onnx_model = tvmcomp.convert(model, shapes={model.inputs[0].name: x.shape})
    exported = time.perf_counter() - start
    start = time.perf_counter()
    artifact = build(onnx_model, target=one_thread(), reference=False)
    built = time.perf_counter() - start
    with tvmcomp.load(artifact) as session:
        (got,) = session.run({session.signature.inputs[0].name: x}).values()
    error = float(np.abs(got - expected).max() / np.abs(expected).max())
    return error, exported, built, len(onnx_model.graph.node)
