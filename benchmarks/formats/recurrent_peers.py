"""The engines that recurrent networks are compared with, each on one thread."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from benchmarks.formats import recurrent_tflite
from benchmarks.zoo.packages import cache_folder

#: The engine that has weights of its own, as its file was made by another tool.
HYBRID = "litert hybrid"

Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Sizes:
    """A network of the table; its text names a file of it."""

    kind: str
    steps: int
    batch: int
    units: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.steps}-{self.batch}-{self.units}"


def missing(kinds: Sequence[str]) -> list[str]:
    """What of the engines is not compared, and why."""
    said = [
        f"{name} is not installed"
        for name, package in (("OpenVINO", "openvino"), ("PyTorch", "torch"))
        if not importlib.util.find_spec(package)
    ]
    if "RNN" in kinds:
        said.append("PyTorch's RNN")
    return said


def hybrid_file(sizes: Sizes) -> Path:
    """Where LiteRT's file of a network is kept, once it is written."""
    folder = cache_folder() / "recurrent-hybrid"
    folder.mkdir(exist_ok=True)
    return folder / f"{sizes}.tflite"


def write_hybrid(sizes: Sequence[Sizes], python: str) -> list[str]:
    """Write LiteRT's file of each network that has none; what could not be done, and why.

    Args:
        sizes: the networks.
        python: a Python that has TensorFlow. Its import takes longest: one process writes all.
    """
    if not importlib.util.find_spec("ai_edge_litert"):
        return ["LiteRT is not installed (ai-edge-litert)"]
    wanted = [each for each in sizes if not hybrid_file(each).exists()]
    if not wanted:
        return []
    done = subprocess.run(
        [python, recurrent_tflite.__file__, hybrid_file(wanted[0]).parent, *map(str, wanted)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return []
    said = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
    return [f"LiteRT's hybrid, where TensorFlow wrote no file (--tensorflow): {said}"]


def float_peers(path: Path, sizes: Sizes, layers: int) -> dict[str, Run]:
    """The engines in float32, as far as they are installed."""
    engines = {"onnxruntime": of_onnxruntime(path)}
    if importlib.util.find_spec("openvino"):
        engines["openvino"] = of_openvino(path)
    if importlib.util.find_spec("torch") and sizes.kind != "RNN":
        engines["torch"] = of_torch(path, sizes, layers)
    return engines


def integer_peers(path: Path, sizes: Sizes) -> dict[str, Run]:
    """ONNX Runtime's dynamic quantization, which has a kernel for LSTM and leaves GRU float; and
    LiteRT's hybrid, where there is a file of it."""
    from onnxruntime.quantization import quantize_dynamic

    quantized = path.with_name("dynamic.onnx")
    logging.disable(logging.WARNING)
    quantize_dynamic(path, quantized, per_channel=True)
    logging.disable(logging.NOTSET)
    engines = {"onnxruntime dynamic": of_onnxruntime(quantized)}
    if importlib.util.find_spec("ai_edge_litert") and hybrid_file(sizes).exists():
        engines[HYBRID] = of_litert(hybrid_file(sizes))
    return engines


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


#: ONNX's order of the gates -> PyTorch's.
_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}


def of_torch(path: Path, sizes: Sizes, layers: int) -> Run:
    """PyTorch's own module, with the weights of the network in ``path``."""
    import torch

    torch.set_num_threads(1)
    layer = getattr(torch.nn, sizes.kind)
    module = layer(sizes.units, sizes.units, num_layers=layers, bidirectional=True).eval()
    graph = onnx.load(path).graph
    arrays = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    order = list(_GATES[sizes.kind])

    def ordered(array: np.ndarray) -> torch.Tensor:
        by_gate = array.reshape(len(order), sizes.units, -1)[order]
        return torch.from_numpy(by_gate.reshape(array.shape).copy())

    state = {}
    for number in range(layers):
        for direction, end in enumerate(("", "_reverse")):
            biases = np.split(arrays[f"b{number}"][direction], 2)
            given = (arrays[f"w{number}"][direction], arrays[f"r{number}"][direction], *biases)
            for name, array in zip(
                ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), given, strict=True
            ):
                state[f"{name}_l{number}{end}"] = ordered(array)
    module.load_state_dict(state)

    def infer(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(x))[0].numpy()

    return infer


def of_litert(path: Path) -> Run:
    """LiteRT, on a file whose data is ``[batch, steps, units]``; its weights are others."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    (given,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()

    def infer(x: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(given["index"], np.ascontiguousarray(x.swapaxes(0, 1)))
        interpreter.invoke()
        return interpreter.get_tensor(result["index"]).swapaxes(0, 1)

    return infer
