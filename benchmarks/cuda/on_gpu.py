"""On a GPU: are outputs right, then how long do runs take, beside ONNX Runtime's CUDA provider.

It imports only what runs artifacts: the machine has neither TVM's compiler nor onnx. Each artifact
is checked, and timed, in a process of its own: what one breaks on the GPU costs no other.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np

import tvmcomp
from tvmcomp.artifact.artifact import Artifact
from tvmcomp.artifact.reference import compare
from tvmcomp.runtime.bench import benchmark
from tvmcomp.runtime.example_inputs import example_inputs
from tvmcomp.targets.gpu_fingerprint import gpu_fingerprint

#: Seconds that one engine is timed for, after as long a warm-up.
_SECONDS = 1.0
#: Seconds that one artifact may take to be checked, or to be timed.
_LIMIT_S = 60.0
#: Lines of what a process that failed said last.
_LAST_LINES = 3
#: What names of artifacts have that launch CUDA graphs.
GRAPHS = "-graphs."


def main() -> int:
    """Artifacts are ``NETWORK.QUANT.tvmc``; their models lie beside them as ``NETWORK.onnx``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuda.on_gpu", description=__doc__)
    parser.add_argument("artifacts", nargs="+", type=Path, help="built for the GPU that is here")
    parser.add_argument("--output", type=Path, help="JSON, written after each one")
    parser.add_argument(
        "--budget", type=float, default=480.0, help="seconds after which no other is begun"
    )
    parser.add_argument("--only", choices=_PARTS, help="do this with the one artifact, here")
    given = parser.parse_args()
    if given.only:
        print(json.dumps(_PARTS[given.only](given.artifacts[0])))
        return 0
    if given.output is None:
        parser.error("--output says where results go")
    return run(given.artifacts, given.output, given.budget)


def run(artifacts: Sequence[Path], output: Path, budget: float) -> int:
    """1 where outputs are wrong. The outputs of all are checked before anything is timed.

    Args:
        artifacts: to check and time; those with CUDA graphs come last.
        output: what is found, as JSON.
        budget: seconds; see ``--budget``.
    """
    end = time.monotonic() + budget
    document: dict[str, Any] = {"device": _fields(gpu_fingerprint()), "check": [], "times": []}
    order = sorted(artifacts, key=lambda path: (GRAPHS in path.name, path.name))
    for part in _PARTS:
        for path in order:
            left = end - time.monotonic()
            if left > 0:
                document[part].append(_told(part, path, min(left, _LIMIT_S)))
                output.write_text(json.dumps(document, indent=1))
    return int(not all(each.get("agrees") for each in document["check"]))


def _told(part: str, path: Path, limit: float) -> dict[str, Any]:
    """What a process of its own finds within ``limit`` seconds; what goes wrong is written down."""
    command = [sys.executable, "-m", "benchmarks.cuda.on_gpu", "--only", part, str(path)]
    begin = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
        if done.returncode == 0:
            found = json.loads(done.stdout.strip().splitlines()[-1])
        else:
            told = done.stderr.strip().splitlines()[-_LAST_LINES:]
            found = {"error": " | ".join(told) or f"it ended with {done.returncode}"}
    except subprocess.TimeoutExpired:
        found = {"error": f"no result within {limit:.0f} s"}
    found = {"artifact": path.name, **found, "seconds": round(time.monotonic() - begin, 1)}
    print(part, json.dumps(found), flush=True)
    return found


def _check(path: Path) -> dict[str, Any]:
    """Against the reference outputs of the CPU, and ONNX Runtime's on the CPU."""
    artifact = Artifact.load(path)
    inputs = example_inputs(artifact)
    with tvmcomp.load(path) as session:
        outputs = session.run(inputs)
    found: dict[str, Any] = {}
    if artifact.reference is not None:
        agreements = compare(outputs, artifact.reference, artifact.metadata.quant)
        found["agrees"] = all(each.agrees for each in agreements)
        found["largest_difference"] = max(each.max_difference for each in agreements)
    runner = _onnx_runtime(path, "CPUExecutionProvider")
    if runner is not None:
        wanted = runner(inputs)
        found["snr_db"] = min(_snr(outputs[name], wanted[name]) for name in wanted)
    return found


def _times(path: Path) -> dict[str, Any]:
    artifact = Artifact.load(path)
    inputs = example_inputs(artifact)
    with tvmcomp.load(path) as session:
        found = {"ms": _fields(benchmark(session))}
    runner = _onnx_runtime(path, "CUDAExecutionProvider")
    if runner is not None:
        found["onnxruntime_cuda_with_transfers_ms"] = 1e3 * _median_seconds(runner, inputs)
    return found


_PARTS = {"check": _check, "times": _times}


def _onnx_runtime(path: Path, provider: str) -> Any:
    """Inputs to outputs by ONNX Runtime; None without it, its provider, or the model."""
    model = path.with_name(path.name.split(".")[0] + ".onnx")
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return None
    if not model.exists() or provider not in onnxruntime.get_available_providers():
        return None
    session = onnxruntime.InferenceSession(model, providers=[provider])
    names = [each.name for each in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, dict(inputs)), strict=True))


def _median_seconds(runner: Any, inputs: Any) -> float:
    times = []
    for keep in (False, True):
        end = time.perf_counter() + _SECONDS
        while time.perf_counter() < end:
            begin = time.perf_counter()
            runner(inputs)
            if keep:
                times.append(time.perf_counter() - begin)
    return median(times)


def _snr(given: np.ndarray, wanted: np.ndarray) -> float:
    noise = np.sum((given.astype("f8") - wanted.astype("f8")) ** 2)
    signal = np.sum(wanted.astype("f8") ** 2)
    return float(10 * np.log10(max(signal, 1e-30) / max(noise, 1e-30)))


def _fields(struct: Any) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(struct)
    return fields


if __name__ == "__main__":
    sys.exit(main())
