"""Recurrent networks of two layers in both directions: ours and the peers', in turns.

Every engine runs on one thread in this process, one inference after the other's. The figure is the
fastest of all runs, and the median beside it: on a busy machine the fastest says more.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

import tvmcomp
from benchmarks.formats.recurrent_peers import (
    HYBRID,
    Run,
    Sizes,
    float_peers,
    integer_peers,
    missing,
    write_hybrid,
)
from tvmcomp.api import build

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_LAYERS = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    parser.add_argument("--kinds", nargs="+", default=["LSTM", "GRU"], choices=list(_GATES))
    parser.add_argument("--units", nargs="+", type=int, default=[64, 256, 512])
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument(
        "--formats", nargs="+", default=["float32", "int8", "dynamic"],
        choices=["float32", "int8", "dynamic"],
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, default=2.0, help="for each engine of a row")
    parser.add_argument(
        "--tensorflow", default=sys.executable, metavar="PYTHON",
        help="a Python that has tensorflow and tf_keras, to write LiteRT's files with",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Print a row for each network."""
    print(f"{args.steps} steps, {_LAYERS} layers, both directions, 1 thread; ms: fastest (median)")
    sizes = [
        Sizes(kind, args.steps, batch, units)
        for kind in args.kinds
        for units in args.units
        for batch in args.batch
    ]
    with tempfile.TemporaryDirectory() as folder:
        in_integers = set(args.formats) != {"float32"}
        left_out = missing(args.kinds)
        if in_integers:
            left_out += write_hybrid(sizes, args.tensorflow)
        for line in left_out:
            print(f"left out: {line}")
        for each in sizes:
            for line in rows(each, args.formats, args.seconds, Path(folder)):
                print(line, flush=True)
    return 0


def rows(sizes: Sizes, formats: list[str], seconds: float, folder: Path) -> Iterator[str]:
    """One network: the times of all engines, and of each of our formats the ratio of the fastest
    peer's in float32 or in integers, and of our own float32. ``folder`` is for files."""
    shape = (sizes.steps, sizes.batch, sizes.units)
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    built: dict[str, float] = {}
    path = folder / "network.onnx"
    onnx.save(network(sizes.kind, *shape), path)
    engines: dict[str, Run] = {}
    for name in formats:
        begun = time.perf_counter()
        artifact = compiled(path, name, x.shape)
        built[name] = time.perf_counter() - begun
        engines[name] = ours(artifact)
    peers = {"float32": float_peers(path, sizes, _LAYERS)}
    if set(formats) != {"float32"}:
        peers["int8"] = integer_peers(path, sizes)
    for each in peers.values():
        engines |= each
    want = engines["onnxruntime"](x)
    noise = {
        name: "own weights" if name == HYBRID else f"{decibels(want, engines[name](x)):.0f} dB"
        for name in engines
    }
    times = in_turns(engines, x, seconds)
    yield f"{sizes.kind} {sizes.units} units, batch {sizes.batch}"
    for name, each in times.items():
        text = f"  {name:20} {each.min():8.3f} ({np.median(each):.3f})  {noise[name]:>7}"
        if name in formats:
            others = peers["float32" if name == "float32" else "int8"]
            fastest = min(others, key=lambda peer: times[peer].min())
            text += f"  {times[fastest].min() / each.min():.2f} x {fastest}"
            if name != "float32" and "float32" in formats:
                text += f"  {times['float32'].min() / each.min():.2f} x float32"
            text += f"  built in {built[name]:.1f} s"
        yield text


def compiled(path: Path, number_format: str, shape: tuple[int, ...]) -> Any:
    """The artifact of a network in a format, calibrated with random numbers."""
    if number_format != "int8":
        quant = None if number_format == "float32" else number_format
        return build(path, quant=quant, log="none", reference=False)
    rng = np.random.default_rng(2)
    samples = [{"x": rng.standard_normal(shape).astype(np.float32)} for _ in range(4)]
    return build(path, quant="int8", calibration=samples, log="none", reference=False)


def decibels(want: np.ndarray, got: np.ndarray) -> float:
    """Signal-to-noise ratio."""
    return 10 * float(np.log10(np.mean(want**2) / (np.mean((got - want) ** 2) + 1e-30)))


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
