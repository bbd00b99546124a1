"""Every operator that computes or moves much: our time over ONNX Runtime's, one thread each.

    python -m benchmarks.peers.operators [--only WORD …] [--above 2]

A sweep for kinds of kernels that fall to no good schedule, not a benchmark: both run in this
process, and only ratios well above 1 mean anything.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

import tvmcomp
from benchmarks.peers.operators.case import Draw, OperatorCase
from benchmarks.peers.operators.convolutions import convolutions, pools, transposed
from benchmarks.peers.operators.element_wise import element_wise
from benchmarks.peers.operators.moves import indexing, moves, resizes
from benchmarks.peers.operators.products import integer_products, products
from benchmarks.peers.operators.rows import normalizations, reductions, scans
from tvmcomp.errors import TvmcompError

_SECONDS = 0.08
_MOST_RUNS = 200

_KINDS = (
    products,
    integer_products,
    convolutions,
    transposed,
    pools,
    reductions,
    normalizations,
    scans,
    moves,
    indexing,
    resizes,
    element_wise,
)


def operator_cases() -> Iterator[OperatorCase]:
    """All cases, in a fixed order."""
    draw = Draw()
    for kind in _KINDS:
        yield from kind(draw)


def measure(case: OperatorCase, folder: Path) -> dict[str, Any]:
    """Milliseconds of both, and the largest difference in shares of the output's range."""
    path = folder / "model.onnx"
    onnx.save(case.model(), path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    row: dict[str, Any] = {"name": case.name}
    try:
        theirs = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        wanted = theirs.run(None, case.inputs)
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented as error:
        theirs, wanted = None, None
        row["onnxruntime"] = str(error).splitlines()[0][-120:]
    try:
        begin = time.perf_counter()
        artifact = tvmcomp.build(path, reference=False)
        row["build_s"] = round(time.perf_counter() - begin, 1)
        with tvmcomp.load(artifact, threads=1) as session:
            given = list(session.run(case.inputs).values())
            begin = time.perf_counter()
            times = session.time(3)
            runs = int(min(max(_SECONDS / max(min(times), 1e-7), 3), _MOST_RUNS))
            row["ours_ms"] = 1e3 * min([*times, *session.time(runs)])
    except TvmcompError as error:
        row["error"] = f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"
        return row
    if wanted is None:
        return row
    row["difference"] = max(_difference(a, b) for a, b in zip(given, wanted, strict=True))
    row["theirs_ms"] = 1e3 * _fastest(theirs, case.inputs)
    row["ratio"] = row["ours_ms"] / row["theirs_ms"]
    return row


def _fastest(session: Any, inputs: dict[str, np.ndarray]) -> float:
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_cpu_input(name, array)
    for output in session.get_outputs():
        binding.bind_output(output.name)
    times: list[float] = []
    while len(times) < 3 or (sum(times) < _SECONDS and len(times) < _MOST_RUNS):
        begin = time.perf_counter()
        session.run_with_iobinding(binding)
        times.append(time.perf_counter() - begin)
    return min(times)


def _difference(given: np.ndarray, wanted: np.ndarray) -> float:
    if given.shape != wanted.shape or given.dtype != wanted.dtype:
        return float("inf")
    wide = wanted.astype(np.float64)
    if not wide.size:
        return 0.0
    scale = max(float(np.nanmax(np.abs(wide))), 1e-30)
    return float(np.nanmax(np.abs(given.astype(np.float64) - wide)) / scale)


def main() -> None:
    """Measure, and print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="cases with one of these in the name")
    parser.add_argument("--above", type=float, default=0.0, help="print ratios above this")
    parser.add_argument("--json", type=Path, help="write every row here")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case in operator_cases():
            if options.only and not any(word in case.name for word in options.only):
                continue
            row = measure(case, Path(folder))
            rows.append(row)
            if row.get("ratio", 1e9) < options.above and row.get("difference", 1) < 1e-3:
                continue
            ratio, ours, theirs, difference = (
                row.get(key, float("nan"))
                for key in ("ratio", "ours_ms", "theirs_ms", "difference")
            )
            why = f"{row.get('error', '')} {row.get('onnxruntime', '')}"
            print(
                f"{ratio:8.2f} {ours:9.3f} {theirs:9.3f} {difference:8.1e} {row['name']} {why}",
                flush=True,
            )
            if options.json:
                options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
