"""ONNX Runtime as a reference for integers, on any machine."""

from __future__ import annotations

from pathlib import Path

import onnxruntime


def precise_onnxruntime(path: Path) -> onnxruntime.InferenceSession:
    """A session of one thread whose integer products are exact.

    On x86 without VNNI ONNX Runtime adds two products of 8-bit numbers in 16 bits, which overflow,
    unless it is told to be precise.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def plain_onnxruntime(model: bytes) -> onnxruntime.InferenceSession:
    """A session that runs Q/DQ around float operators as they stand: integers are never fused."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
