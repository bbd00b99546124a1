"""Recurrent networks of two layers in both directions: ours and the peers', in turns.

Every engine runs on one thread in this process, one inference after the other's. The figure is the
fastest of all runs, and the median beside it: on a busy machine the fastest says more.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

import tvmcomp
from tvmcomp.api import build

Run = Callable[[np.ndarray], np.ndarray]
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_LAYERS = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    parser.add_argument("--kinds", nargs="+", default=["LSTM", "GRU"], choices=list(_GATES))
    parser.add_argument("--units", nargs="+", type=int, default=[64, 256, 512])
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each engine of a row")


def run(args: argparse.Namespace) -> int:
    """Print a row for each network."""
    print(f"{args.steps} steps, {_LAYERS} layers, both directions, 1 thread; ms: fastest (median)")
    for kind in args.kinds:
        for units in args.units:
            for batch in args.batch:
                print(row(kind, args.steps, batch, units, args.seconds), flush=True)
    return 0


def row(kind: str, steps: int, batch: int, units: int, seconds: float) -> str:
    """One network: the times of all engines, and the ratio of the fastest peer's to ours."""
    x = np.random.default_rng(1).standard_normal((steps, batch, units)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        onnx.save(network(kind, steps, batch, units), path)
        begun = time.perf_counter()
        artifact = build(path, log="none", reference=False)
        built = time.perf_counter() - begun
        engines: dict[str, Run] = {"tvmcomp": ours(artifact), "onnxruntime": of_onnxruntime(path)}
        if importlib.util.find_spec("openvino"):
            engines["openvino"] = of_openvino(path)
        if importlib.util.find_spec("torch") and kind != "RNN":
            engines["torch"] = of_torch(kind, units)
        want = engines["onnxruntime"](x)
        error = float(np.abs(engines["tvmcomp"](x) - want).max())
        times = in_turns(engines, x, seconds)
    peers = {name: times[name].min() for name in times if name != "tvmcomp"}
    fastest = min(peers, key=lambda name: peers[name])
    texts = [f"{name} {t.min():.3f} ({np.median(t):.3f})" for name, t in times.items()]
    return (
        f"{kind:5} {units:4} units, batch {batch}: {', '.join(texts)}; ratio to {fastest} "
        f"{peers[fastest] / times['tvmcomp'].min():.2f}; error {error:.1e}; build {built:.1f} s"
    )


def in_turns(engines: dict[str, Run], x: np.ndarray, seconds: float) -> dict[str, np.ndarray]:
    """Milliseconds of each run of each engine."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    end = time.perf_counter() + seconds * len(engines)
    while time.perf_counter() < end or len(next(iter(times.values()))) < 5:
        for name, engine in engines.items():
            begun = time.perf_counter()
            engine(x)
            times[name].append(1e3 * (time.perf_counter() - begun))
    return {name: np.array(each) for name, each in times.items()}


def network(kind: str, steps: int, batch: int, units: int) -> onnx.ModelProto:
    """Two layers, each of both directions, as PyTorch exports them; weights drawn as it does."""
    rng, rows = np.random.default_rng(0), _GATES[kind] * units
    nodes: list[Any] = []
    weights: list[Any] = []

    def weight(name: str, *shape: int) -> str:
        array = rng.uniform(-1, 1, shape).astype(np.float32) / np.float32(np.sqrt(units))
        weights.append(numpy_helper.from_array(array, name))
        return name

    weights.append(numpy_helper.from_array(np.array([0, 0, -1], "int64"), "shape"))
    data, width = "x", units
    reset = {"linear_before_reset": 1} if kind == "GRU" else {}
    for layer in range(_LAYERS):
        inputs = [
            data,
            weight(f"w{layer}", 2, rows, width),
            weight(f"r{layer}", 2, rows, units),
            weight(f"b{layer}", 2, 2 * rows),
        ]
        outputs = [f"y{layer}"]
        settings = {"hidden_size": units, "direction": "bidirectional", **reset}
        nodes.append(helper.make_node(kind, inputs, outputs, **settings))
        nodes.append(helper.make_node("Transpose", outputs, [f"t{layer}"], perm=[0, 2, 1, 3]))
        data, width = f"z{layer}", 2 * units
        nodes.append(helper.make_node("Reshape", [f"t{layer}", "shape"], [data]))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [steps, batch, units])],
        [helper.make_tensor_value_info(data, onnx.TensorProto.FLOAT, [steps, batch, width])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


def ours(artifact: Any) -> Run:
    """A session on the compiled network."""
    session = tvmcomp.load(artifact, threads=1)
    return lambda x: next(iter(session.run({"x": x}).values()))


def of_onnxruntime(path: Path) -> Run:
    """ONNX Runtime, fully optimized."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0]


def of_openvino(path: Path) -> Run:
    """OpenVINO for latency."""
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": "f32"}  # fmt: skip
    request = core.compile_model(core.read_model(path), "CPU", settings).create_infer_request()
    return lambda x: request.infer({0: x})[0]


def of_torch(kind: str, units: int) -> Run:
    """PyTorch's own module of the same sizes; its weights are others."""
    import torch

    torch.set_num_threads(1)
    module = getattr(torch.nn, kind)(units, units, num_layers=_LAYERS, bidirectional=True).eval()

    def infer(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(x))[0].numpy()

    return infer
