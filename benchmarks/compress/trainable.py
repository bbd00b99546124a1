"""The trainable networks of the zoo and of the kinds, in torch, beside ONNX Runtime."""

from __future__ import annotations

import argparse
import time

import numpy as np
import onnxruntime
import torch

from benchmarks.accuracy.cases import Case, load, names
from tvmcomp.compress.network import TrainableNetwork
from tvmcomp.frontend.binding import Binding
from tvmcomp.frontend.onnx.prepare import prepare
from tvmcomp.frontend.source import read_model

#: Share of an output's range.
ACCURACY = 1e-5
#: Samples that a network is compared on.
SAMPLES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names())} [all]")


def run(args: argparse.Namespace) -> int:
    """Print a row for each network; 1 where one differs."""
    torch.set_num_threads(1)
    print(f"{'network':24} {'error':>8} {'weights':>10} {'ms':>7}  without gradient")
    missed = 0
    for name in args.names or names():
        missed += _row(load(name, SAMPLES)) > ACCURACY
    return int(missed > 0)


def _row(case: Case) -> float:
    session = onnxruntime.InferenceSession(case.model, providers=["CPUExecutionProvider"])
    model, _ = read_model(case.model)
    binding = Binding(case.shapes, {}, {})
    network = TrainableNetwork(prepare(model, binding, where=str(case.model)).model)
    start = time.perf_counter()
    with torch.no_grad():
        outputs = [
            network(*(torch.from_numpy(sample[name]) for name in network.inputs))
            for sample in case.samples
        ]
    seconds = (time.perf_counter() - start) / len(outputs)
    wanted = [session.run(None, sample) for sample in case.samples]
    error = max(
        float(np.abs(np.array(got) - np.array(want)).max() / np.ptp(np.array(want)))
        for got, want in zip(zip(*outputs, strict=True), zip(*wanted, strict=True), strict=True)
    )
    count = sum(weight.numel() for weight in network.weights().values())
    odd = ", ".join(network.without_gradient) or "-"
    print(f"{case.name:24} {error:8.1e} {count:10,} {seconds * 1e3:7.1f}  {odd}", flush=True)
    return error
