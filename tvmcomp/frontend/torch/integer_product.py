"""``aten._int_mm`` as ONNX's MatMulInteger: torchao's ``quantize_`` multiplies so, dynamically."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def translations() -> dict[Any, Callable[..., Any]]:
    """What ``torch.onnx.export`` takes for its ``custom_translation_table``."""
    import torch

    return {torch.ops.aten._int_mm.default: _product}


def _product(left: Any, right: Any) -> Any:
    """``_int_mm``: 8-bit integers, summed in 32 bits."""
    from onnxscript import opset18 as op

    return op.MatMulInteger(left, right)
