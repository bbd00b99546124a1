"""A model in a later operator set, which scales of an axis and 4-bit weights need."""

from __future__ import annotations

import onnx
import onnx.version_converter

from tvmcomp.frontend.onnx.file import opset_version


def at_least(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """``model`` in operator set ``opset`` where it is of an earlier one and can be, else itself."""
    if opset_version(model) >= opset:
        return model
    try:
        converted = onnx.version_converter.convert_version(model, opset)
        onnx.checker.check_model(converted)
    except (RuntimeError, ValueError, onnx.checker.ValidationError):
        return model
    return converted
