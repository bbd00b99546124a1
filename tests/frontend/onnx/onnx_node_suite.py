"""ONNX's node conformance suite through the frontend.

``python -m onnx_node_suite [CASE…]`` prints the verdict on each case.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests
from onnx_models import run

from tvmcomp.errors import TvmcompError
from tvmcomp.frontend import load_model

#: Inputs, by operator, that the suite feeds at run time and that say shapes or settings in
#: networks: they are bound as constants first.
SETTINGS = {
    "AffineGrid": [1], "BatchNormalization": [1, 2, 3, 4], "BlackmanWindow": [0],
    "CenterCropPad": [1], "Clip": [1, 2], "Col2Im": [1, 2], "ConstantOfShape": [0],
    "CumSum": [1], "DFT": [1, 2], "DequantizeLinear": [1, 2], "Dropout": [1, 2], "Expand": [1],
    "HammingWindow": [0], "HannWindow": [0], "MaxUnpool": [2], "MelWeightMatrix": [0, 1, 2, 3, 4],
    "NonMaxSuppression": [2, 3, 4], "OneHot": [1, 2], "Pad": [1, 2, 3], "QuantizeLinear": [1, 2],
    "Range": [0, 1, 2], "ReduceL1": [1], "ReduceL2": [1], "ReduceLogSum": [1],
    "ReduceLogSumExp": [1], "ReduceMax": [1], "ReduceMean": [1], "ReduceMin": [1],
    "ReduceProd": [1], "ReduceSum": [1], "ReduceSumSquare": [1], "Reshape": [1],
    "Resize": [1, 2, 3], "STFT": [1, 2, 3], "Slice": [1, 2, 3, 4], "Split": [1],
    "SplitToSequence": [1], "Squeeze": [1], "Tile": [1], "TopK": [1], "Trilu": [1],
    "Unsqueeze": [1], "Upsample": [1],
}  # fmt: skip


#: What a pipe takes at once.
_VERDICT_BYTES = 4096


@functools.cache
def node_tests() -> dict[str, Any]:
    """ONNX's node tests by name, without the ``test_``; collecting them takes seconds."""
    return {case.name.removeprefix("test_"): case for case in load_model_tests(kind="node")}


def run_case(case: Any, path: Path) -> None:
    """Import, build and run ``case``; raises where a shape, dtype or value is wrong."""
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    inputs, outputs = (list(map(array_of, values)) for values in case.data_sets[0])
    feeds = {v.name: a for v, a in zip(model.graph.input, inputs, strict=False)}
    bound = {
        node.input[index]
        for node in model.graph.node
        for index in SETTINGS.get(node.op_type, [])
        if index < len(node.input) and node.input[index] in feeds
    }
    model.graph.initializer.extend(numpy_helper.from_array(feeds.pop(name), name) for name in bound)
    onnx.save(model, path)
    imported = load_model(path, {name: array.shape for name, array in feeds.items()})
    for got, want in zip(run(imported, feeds), outputs, strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)


def array_of(value: Any) -> np.ndarray:
    # Types that numpy lacks come as protocol buffers.
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value)


def verdict_in_child(case: Any, path: Path, seconds: int = 60) -> str:
    """What comes of ``case`` in a process of its own (some crash TVM).

    ``passes``; ``refused: …`` with the message that a user would read; ``fails: …`` where the
    answer is wrong or the error is not one for users; ``dies: …`` with the exit status.
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        try:
            os.write(write_end, _verdict(case, path)[:_VERDICT_BYTES].encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, encoding="utf-8", errors="replace") as pipe:
        verdict = pipe.read()
    status = os.waitpid(child, 0)[1]
    return verdict or f"dies: {status}"


def _verdict(case: Any, path: Path) -> str:
    try:
        run_case(case, path)
    except TvmcompError as error:
        return f"refused: {error}"
    except BaseException as error:  # noqa: BLE001  the verdict is what the test is about
        return f"fails: {type(error).__name__}: {error}"
    return "passes"


def main() -> int:
    """Print the verdict on each case that is named, or on all."""
    with tempfile.TemporaryDirectory() as folder:
        for name, case in node_tests().items():
            if len(sys.argv) == 1 or name in sys.argv[1:]:
                verdict = " ".join(verdict_in_child(case, Path(folder, "m.onnx")).split())
                print(f"{name}: {verdict}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
