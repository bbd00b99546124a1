"""The reference: LiteRT's interpreter; and what ONNX Runtime makes of our conversion."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import tvmcomp

try:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
except ImportError:
    if os.environ.get("CI") == "true":
        raise
    pytest.skip("needs ai-edge-litert", allow_module_level=True)

Arrays = dict[str, np.ndarray]


def litert(path: Path, feeds: Arrays, reference: bool = False) -> list[np.ndarray]:
    """The outputs of LiteRT, in order; of its plain kernels with `reference`."""
    chosen = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
    interpreter = Interpreter(str(path), num_threads=1, experimental_op_resolver_type=chosen)
    for detail in interpreter.get_input_details():
        interpreter.resize_tensor_input(detail["index"], feeds[detail["name"]].shape)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], feeds[detail["name"]])
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def converted(path: Path, feeds: Arrays) -> list[np.ndarray]:
    """The outputs of the ONNX model that `path` becomes, by ONNX Runtime.

    Operator by operator: the products of 8-bit numbers that it would make of Q/DQ saturate on CPUs
    without VNNI.
    """
    model = tvmcomp.convert(path)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def agree(given: list[np.ndarray], wanted: list[np.ndarray], steps: int = 1) -> None:
    """Assert that outputs are the same: floats to 1e-5, integers of 8 bits to so many steps."""
    assert len(given) == len(wanted)
    for ours, theirs in zip(given, wanted, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        if ours.dtype.kind == "f":
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
        else:
            allowed = steps if ours.dtype.itemsize < 4 and ours.dtype.kind != "b" else 0
            assert np.abs(ours.astype("int64") - theirs.astype("int64")).max(initial=0) <= allowed
