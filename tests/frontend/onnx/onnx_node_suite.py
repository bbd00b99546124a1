"""Run a case of ONNX's node conformance suite through the frontend."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

from tvmcomp import targets
from tvmcomp.codegen.compile import run_here
from tvmcomp.errors import InputError, TvmcompError
from tvmcomp.frontend import load_model
from tvmcomp.frontend.onnx.narrow import NARROW, numpy_held
from tvmcomp.progress import NoProgress
from tvmcomp.quantize import QuantConfig
from tvmcomp.quantize.precision import choose_precision

#: Inputs, by operator, that the suite feeds at run time and that say shapes or settings in
#: networks: they are bound as constants first.
SETTINGS = {
    "AffineGrid": [1], "BatchNormalization": [1, 2, 3, 4], "BlackmanWindow": [0],
    "CenterCropPad": [1], "Clip": [1, 2], "Col2Im": [1, 2], "Compress": [1], "ConstantOfShape": [0],
    "CumProd": [1], "CumSum": [1], "DFT": [1, 2], "DequantizeLinear": [1, 2], "Dropout": [1, 2],
    "Expand": [1], "HammingWindow": [0], "HannWindow": [0], "Loop": [0, 1], "MaxUnpool": [2],
    "MelWeightMatrix": [0, 1, 2, 3, 4], "NonMaxSuppression": [2, 3, 4], "OneHot": [1, 2],
    "Pad": [1, 2, 3], "QLinearConv": [1, 2, 4, 5, 6, 7], "QLinearMatMul": [1, 2, 4, 5, 6, 7],
    "QuantizeLinear": [1, 2], "Range": [0, 1, 2], "ReduceL1": [1], "ReduceL2": [1],
    "ReduceLogSum": [1], "ReduceLogSumExp": [1], "ReduceMax": [1], "ReduceMean": [1],
    "ReduceMin": [1], "ReduceProd": [1], "ReduceSum": [1], "ReduceSumSquare": [1], "Reshape": [1],
    "Resize": [1, 2, 3], "STFT": [1, 2, 3], "SequenceAt": [1], "SequenceErase": [1],
    "SequenceInsert": [2], "Slice": [1, 2, 3, 4], "Split": [1], "SplitToSequence": [1],
    "Squeeze": [1], "Tile": [1], "TopK": [1], "Trilu": [1], "Unsqueeze": [1], "Upsample": [1],
}  # fmt: skip


#: Cases in which the standard's numbers are not ONNX Runtime's, whom we follow, and why.
DISPUTED = {
    "maxunpool_export_with_output_shape": "its indices count in another shape than it gives",
    "resize_downsample_scales_cubic_align_corners": "the last pixel of a size that is no integer",
    "resize_downsample_scales_linear_align_corners": "the last pixel of a size that is no integer",
}


@functools.cache
def node_tests() -> dict[str, Any]:
    """ONNX's node tests by name, without the ``test_``; collecting them takes seconds."""
    return {case.name.removeprefix("test_"): case for case in load_model_tests(kind="node")}


def run_case(case: Any, path: Path) -> None:
    """Import, build and run ``case``; raises where a shape, dtype or value is wrong."""
    given, wanted = results(case, path)[0], expected(case)
    counts = iter(given[len(wanted) :])
    for got, want in zip(given[: len(wanted)], wanted, strict=True):
        if any(node.op_type == "NonMaxSuppression" for node in case.model.graph.node):
            # Rows of -1 stand for boxes that are not selected.
            assert (got[len(want) :] == -1).all()
            got = got[: len(want)]
        elif len(given) > len(wanted):
            # Outputs whose size depends on data end in zeros, and say how much of them is real.
            axis = next((i for i, size in enumerate(want.shape) if got.shape[i] != size), 0)
            got = np.take(got, np.arange(int(next(counts))), axis)
        _compare(got, want)


def expected(case: Any) -> list[Any]:
    """The outputs that the standard gives."""
    return [held(array_of(value)) for value in case.data_sets[0][1]]


def results(case: Any, path: Path) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Save ``case`` to ``path`` with its settings bound, import, build and run it as the product
    does; return the outputs, and what it was fed."""
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    inputs = [held(array_of(value)) for value in case.data_sets[0][0]]
    feeds = dict(zip((value.name for value in model.graph.input), inputs, strict=False))
    own = case.name.removeprefix("test_").split("_expanded")[0]
    bound = settings(node_tests().get(own, case))
    bound = [name for name in feeds if name in bound]
    kinds = {v.name: v.type.tensor_type.elem_type for v in model.graph.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(
            feeds.pop(name).astype(helper.tensor_dtype_to_np_dtype(kinds[name])), name
        )
        for name in bound
    )
    onnx.save(model, path)
    shapes = {name: a.shape for name, a in feeds.items() if isinstance(a, np.ndarray)}
    imported = load_model(path, shapes)
    if any(isinstance(a, np.ndarray) and a.dtype.kind == "O" for a in feeds.values()):
        raise InputError("an optional input is left out", hint="A session is given every input.")
    here = targets.detect()
    choice = choose_precision(imported, here, here, None, None, QuantConfig(), NoProgress(), None)
    arrays = [feeds[spec.name] for spec in imported.signature.inputs]
    return run_here(choice.mod, here, arrays, half=choice.half)[0], feeds


class Wrong(Exception):
    """A result that is not the expected one."""


def _compare(got: np.ndarray, want: np.ndarray) -> None:
    if (got.shape, got.dtype) != (want.shape, want.dtype):
        raise Wrong(f"it is {got.dtype}{got.shape}, not {want.dtype}{want.shape}")
    rtol = 1e-3
    if want.dtype == ml_dtypes.bfloat16:
        # It has 8 bits, and only the result is rounded to it.
        rtol, got, want = 1e-2, got.astype("float32"), want.astype("float32")
    try:
        np.testing.assert_allclose(got, want, rtol=rtol, atol=1e-4)
    except AssertionError as error:
        raise Wrong(" ".join(str(error).split())[:500]) from None


def settings(case: Any) -> set[str]:
    """The names of the inputs that a network has as constants; a case of an operator's expansion
    has the inputs of the operator's own."""
    return {
        node.input[index]
        for node in case.model.graph.node
        for index in SETTINGS.get(node.op_type, [])
        if index < len(node.input)
    }


def array_of(value: Any) -> Any:
    # Types that numpy lacks come as protocol buffers, sequences as lists.
    if isinstance(value, list):
        return list(map(array_of, value))
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value)


def held(array: Any) -> Any:
    """Numbers of a narrow type in the type that a compiled network holds them in."""
    if not isinstance(array, np.ndarray) or array.dtype.hasobject or array.dtype.kind in "OU":
        return array
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return array.astype(numpy_held(kind)) if kind in NARROW else array


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        kind: ``passes``; ``refused``, by an error of ours, which is a clear answer; ``wrong``
            values; ``disputed`` ones; ``fails`` with another error; ``ends`` its process, or takes
            too long.
        text: the error.
    """

    kind: str
    text: str = ""


def outcomes(
    names: Sequence[str], folder: Path, seconds: int = 60
) -> Iterator[tuple[str, Outcome]]:
    """Run cases, by name, in a process beside this one, which a case that ends it doesn't end."""
    done = 0
    while done < len(names):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _work(names[done:], folder, writer, seconds)
        os.close(writer)
        with os.fdopen(reader) as lines:
            for line in lines:
                yield names[done], Outcome(*json.loads(line))
                done += 1
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if ended:
            what = f"takes over {seconds} s" if ended == -signal.SIGALRM else f"exit code {ended}"
            yield names[done], Outcome("ends", what)
            done += 1


def _work(names: Sequence[str], folder: Path, writer: int, seconds: int) -> None:
    """Run cases one after the other; write a line of JSON for each."""
    status = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        with os.fdopen(writer, "w") as lines:
            for name in names:
                signal.alarm(seconds)
                outcome = _outcome(node_tests()[name], folder / "case.onnx")
                print(json.dumps([outcome.kind, outcome.text]), file=lines, flush=True)
        status = 0
    finally:
        os._exit(status)


def _outcome(case: Any, path: Path) -> Outcome:
    try:
        run_case(case, path)
    except TvmcompError as error:
        return Outcome("refused", " ".join(str(error).split()))
    except Wrong as error:
        reason = DISPUTED.get(case.name.removeprefix("test_"))
        return Outcome("disputed", reason) if reason else Outcome("wrong", str(error))
    except BaseException as error:  # noqa: BLE001  it is what is looked for
        return Outcome("fails", f"{type(error).__name__}: {' '.join(str(error).split())[-500:]}")
    return Outcome("passes")


def main() -> int:
    """``python -m onnx_node_suite [PATTERN]``: run the cases whose names match and print what
    becomes of them."""
    pattern = re.compile(sys.argv[1] if len(sys.argv) > 1 else "")
    names = [name for name in node_tests() if pattern.search(name)]
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for name, outcome in outcomes(names, Path(folder)):
            counts[outcome.kind] += 1
            if outcome.kind != "passes":
                print(f"{name}: {outcome.kind}: {outcome.text}", flush=True)
    print(", ".join(f"{count} {kind}" for kind, count in counts.most_common()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
