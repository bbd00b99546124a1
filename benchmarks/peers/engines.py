"""One engine with one network, in a process of its own, that runs a block whenever it is told to.

    python -m benchmarks.peers.engines onnxruntime model.onnx inputs.npz outputs.npz --threads 2

Loads, runs once, writes the outputs, and prints a line of JSON. Then, for each line on its standard
input that holds a number of seconds, it runs the network for so long and prints the milliseconds of
each run. Between blocks it waits in a read, so that it takes nothing from the engine whose turn it
is. It imports nothing but the engine and numpy: peers may have a Python of their own.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.peak_memory import peak_mib

Arrays = dict[str, NDArray]
#: Runs the network once on inputs that were placed before.
Run = Callable[[], object]
#: The outputs of the last run.
Outputs = Callable[[], Arrays]

_ALIGNMENT = 64
#: Runs at the start of a block that don't count: the caches hold another engine's data.
_WARM_UP_RUNS = 2
_FEWEST_RUNS = 3


def tvmcomp_engine(
    model: str, inputs: Arrays, threads: int, precision: str
) -> tuple[Run, Outputs, str]:
    """An artifact of ours, whose numbers were chosen when it was built."""
    import tvmcomp

    session = tvmcomp.load(model, threads=threads)
    return (
        lambda: session.run(inputs),
        lambda: session.run(inputs),
        session.artifact.metadata.tvmcomp,
    )


def onnxruntime_engine(
    model: str, inputs: Arrays, threads: int, precision: str
) -> tuple[Run, Outputs, str]:
    """ONNX Runtime with all graph optimizations; inputs bound where they lie."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_cpu_input(name, array)
    names = [output.name for output in session.get_outputs()]
    for name in names:
        binding.bind_output(name, "cpu")

    def outputs() -> Arrays:
        return dict(zip(names, binding.copy_outputs_to_cpu(), strict=True))

    return lambda: session.run_with_iobinding(binding), outputs, onnxruntime.__version__


def openvino_engine(
    model: str, inputs: Arrays, threads: int, precision: str
) -> tuple[Run, Outputs, str]:
    """OpenVINO for latency in one stream; inputs in tensors that share their memory.

    What int8 leaves in float it may compute as it likes, as by default.
    """
    import openvino

    settings: dict[str, object] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": threads,
    }
    if hint := {"fp32": "f32", "bf16": "bf16"}.get(precision):
        settings["INFERENCE_PRECISION_HINT"] = hint
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    for name, array in inputs.items():
        request.set_tensor(name, openvino.Tensor(array, shared_memory=True))

    def run() -> None:
        request.start_async()
        request.wait()

    def outputs() -> Arrays:
        return {port.get_any_name(): request.get_tensor(port).data for port in compiled.outputs}

    return run, outputs, openvino.__version__.partition("-")[0]


ENGINES: dict[str, Callable[[str, Arrays, int, str], tuple[Run, Outputs, str]]] = {
    "tvmcomp": tvmcomp_engine,
    "onnxruntime": onnxruntime_engine,
    "openvino": openvino_engine,
}


def aligned(array: NDArray) -> NDArray:
    """A copy that begins at a multiple of 64 bytes, so that no engine needs to copy it again."""
    memory = np.empty(array.nbytes + _ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % _ALIGNMENT
    result = memory[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    result[...] = array
    return result


def block(run: Run, seconds: float) -> list[float]:
    """Milliseconds of each run, for about so many seconds."""
    for _ in range(_WARM_UP_RUNS):
        run()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < _FEWEST_RUNS or time.perf_counter() < end:
        begin = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - begin))
    return times


def main() -> None:
    """Load the engine, and serve blocks until the standard input ends."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers.engines", description=__doc__.splitlines()[0]
    )
    parser.add_argument("engine", choices=sorted(ENGINES))
    parser.add_argument("model")
    parser.add_argument("inputs", help=".npz")
    parser.add_argument("outputs", help=".npz")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--precision", choices=["fp32", "int8", "bf16"], default="fp32")
    args = parser.parse_args()
    with np.load(args.inputs, allow_pickle=False) as file:
        inputs = {name: aligned(file[name]) for name in file.files}
    imported = peak_mib()
    begin = time.perf_counter()
    run, outputs, version = ENGINES[args.engine](args.model, inputs, args.threads, args.precision)
    run()
    load_ms = 1e3 * (time.perf_counter() - begin)
    np.savez(args.outputs, **outputs())
    ready = {"version": version, "load_ms": load_ms, "python_mib": imported, "peak_mib": peak_mib()}
    print(json.dumps(ready), flush=True)
    for line in sys.stdin:
        print(json.dumps(block(run, float(line))), flush=True)


if __name__ == "__main__":
    main()
