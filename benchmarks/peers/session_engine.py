"""One engine with one network in a process of its own: its peak memory, and blocks of calls.

    python -m benchmarks.peers.session_engine onnxruntime model.onnx --threads 2

Loads the network as a person would, runs it a few times, and prints a line of JSON. Then, for each
line on its standard input that holds a number of calls, it makes so many and prints the mean
microseconds of one. It imports nothing but the engine and numpy, whose memory counts.
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

_RUNS = 5
_ONNX_TYPES = {"tensor(float)": "float32", "tensor(int64)": "int64", "tensor(int32)": "int32"}


def tvmcomp_call(model: str, threads: int | None) -> Callable[[], object]:
    """A call of a session of ours."""
    import tvmcomp

    session = tvmcomp.load(model, threads=threads)
    specs = session.signature.inputs
    inputs = {spec.name: np.ones(spec.shape, spec.dtype) for spec in specs}
    return lambda: session.run(inputs)


def onnxruntime_call(model: str, threads: int | None) -> Callable[[], object]:
    """A call of a session of ONNX Runtime."""
    session, inputs = _onnxruntime_session(model, threads)
    return lambda: session.run(None, inputs)


def onnxruntime_bound_call(model: str, threads: int | None) -> Callable[[], object]:
    """A call of ONNX Runtime with the inputs bound once, which is what its users do for speed."""
    session, inputs = _onnxruntime_session(model, threads)
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_cpu_input(name, array)
    for output in session.get_outputs():
        binding.bind_output(output.name, "cpu")
    return lambda: session.run_with_iobinding(binding)


def _onnxruntime_session(model: str, threads: int | None) -> tuple[object, dict[str, NDArray]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    inputs = {
        value.name: np.ones(value.shape, _ONNX_TYPES[value.type]) for value in session.get_inputs()
    }
    return session, inputs


ENGINES: dict[str, Callable[[str, int | None], Callable[[], object]]] = {
    "tvmcomp": tvmcomp_call,
    "onnxruntime": onnxruntime_call,
    "onnxruntime-bound": onnxruntime_bound_call,
}


def main() -> None:
    """Load, say how much memory that took, and serve blocks until the standard input ends."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers.session_engine", description=__doc__.splitlines()[0]
    )
    parser.add_argument("engine", choices=sorted(ENGINES))
    parser.add_argument("model")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    begin = time.perf_counter()
    call = ENGINES[args.engine](args.model, args.threads)
    call()
    load_ms = 1e3 * (time.perf_counter() - begin)
    for _ in range(_RUNS - 1):
        call()
    print(json.dumps({"peak_mib": peak_mib(), "load_ms": load_ms}), flush=True)
    for line in sys.stdin:
        calls = int(line)
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        print(json.dumps(1e6 * (time.perf_counter() - begin) / calls), flush=True)


if __name__ == "__main__":
    main()
