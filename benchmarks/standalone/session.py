"""A session in Python: start, memory, the cost of a call, threads.

Example: python -m benchmarks.standalone.session mobilenet.tvmc
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

import tvmcomp
from benchmarks.processes import environment
from tvmcomp.artifact.artifact import Artifact
from tvmcomp.runtime.example_inputs import example_inputs

#: A process says how long it took and what it holds; times are from its own begin.
_FRESH = """
import time
begin = time.perf_counter()
import numpy
numpy_ms = 1e3 * (time.perf_counter() - begin)
def kib(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field))
before = kib("VmRSS")
if {path!r}:
    import tvmcomp
    imported_ms = 1e3 * (time.perf_counter() - begin)
    session = tvmcomp.load({path!r}, threads=1)
    loaded_ms = 1e3 * (time.perf_counter() - begin)
    print(numpy_ms, imported_ms, loaded_ms, kib("VmRSS") - before, kib("VmHWM") - before)
"""
_CALLS = 10_000


def fresh_process(path: Path, runs: int) -> None:
    """Import and load in processes of their own, with the bytecode that pip makes as it installs: a
    checkout under PYTHONDONTWRITEBYTECODE would compile its sources each time."""
    rows = []
    with tempfile.TemporaryDirectory() as bytecode:
        fresh = {**environment(), "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
        command = [sys.executable, "-c", _FRESH.format(path=str(path))]
        for _ in range(1 + runs):
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=fresh)
            rows.append([float(word) for word in done.stdout.split()])
    numpy_ms, imported_ms, loaded_ms, held, peak = (
        min(column) for column in zip(*rows, strict=True)
    )
    print(
        f"fresh process: import numpy {numpy_ms:.0f} ms, then tvmcomp {imported_ms:.0f} ms, then "
        f"load {loaded_ms:.0f} ms: {loaded_ms - numpy_ms:.0f} ms above numpy\n"
        f"memory above numpy: {held / 1024:.1f} MiB, at most {peak / 1024:.1f} MiB"
    )


def tiny_call(folder: Path) -> None:
    """One operator on eight numbers, in turns with ONNX Runtime."""
    x = np.ones((1, 8), "float32")
    shape = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "tiny", shape[:1], shape[1:]
    )
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, folder / "tiny.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    theirs = onnxruntime.InferenceSession(folder / "tiny.onnx", options)
    ours = tvmcomp.load(tvmcomp.build(folder / "tiny.onnx", log="none"), threads=1)
    inputs = {"x": x}
    np.testing.assert_array_equal(ours.run(inputs)["y"], theirs.run(None, inputs)[0])

    def nanoseconds(call: Callable[[], object]) -> float:
        return 1e9 * timeit.timeit(call, number=_CALLS) / _CALLS

    pairs = [
        (nanoseconds(lambda: ours.run(inputs)), nanoseconds(lambda: theirs.run(None, inputs)))
        for _ in range(30)
    ]
    ours_ns, theirs_ns = (min(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(mine / other for mine, other in pairs)
    in_c = 1e9 * min(ours.time(_CALLS))
    print(
        f"a tiny call: {ours_ns:.0f} ns, ONNX Runtime's {theirs_ns:.0f} ns; median ratio in turns "
        f"{ratio:.2f}; in C {in_c:.0f} ns"
    )


def eight_threads(path: Path, calls: int) -> None:
    """Eight Python threads, with a session each and with one shared."""
    artifact = Artifact.load(path)
    inputs = example_inputs(artifact)
    with tvmcomp.load(artifact, threads=1) as session:
        wanted = session.run(inputs)
    for name, count in (("a session each", 8), ("one session", 1)):
        sessions = [tvmcomp.load(artifact, threads=1) for _ in range(count)]
        wrong: list[int] = []

        def work(number: int, sessions: list, wrong: list[int]) -> None:
            session = sessions[number % len(sessions)]
            for _ in range(calls // 8):
                outputs = session.run(inputs)
                if any(not np.array_equal(outputs[key], wanted[key]) for key in wanted):
                    wrong.append(number)

        workers = [threading.Thread(target=work, args=(n, sessions, wrong)) for n in range(8)]
        begin = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        seconds = time.perf_counter() - begin
        print(
            f"8 threads, {name}: {calls} calls in {seconds:.1f} s, {len(wrong)} with wrong outputs"
        )


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument("--calls", type=int, default=10_000, help="of eight threads")
    chosen = parser.parse_args()
    fresh_process(chosen.artifact, chosen.processes)
    with tempfile.TemporaryDirectory() as folder:
        tiny_call(Path(folder))
    eight_threads(chosen.artifact, chosen.calls)


if __name__ == "__main__":
    main()
