"""Q/DQ in torch: what is rounded passes its gradient as if it were not.

The straight-through estimator of Bengio et al., "Estimating or Propagating Gradients Through
Stochastic Neurons" (2013); beyond the range there is none. A quantized tensor is float here: whole
numbers of the integer type's range.
"""

from __future__ import annotations

import onnx
import torch

from tvmcomp.compress.operators.table import Node, Tensor, operator


def straight_through(x: Tensor) -> Tensor:
    """``x`` rounded, halves to even; its gradient is that of ``x``."""
    return x + (torch.round(x) - x).detach()


@operator("QuantizeLinear", "com.microsoft.QuantizeLinear", settings=(2,))
def _quantize(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    low, high = _range(node.get("output_dtype", 0) or onnx.TensorProto.UINT8)
    scale, offset = (_along(node, x, each) for each in (scale, zero))
    whole = straight_through(x / scale)
    whole = whole if offset is None else whole + offset
    return torch.clamp(whole, low, high)


@operator("DequantizeLinear", "com.microsoft.DequantizeLinear", settings=(2,))
def _dequantize(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    scale, offset = (_along(node, x, each) for each in (scale, zero))
    real = x.to(scale.dtype)
    return (real if offset is None else real - offset.to(scale.dtype)) * scale


def _range(element_type: int) -> tuple[int, int]:
    """The least and the largest number of an integer type."""
    name = onnx.TensorProto.DataType.Name(element_type).lower()
    kind, bits = name.rstrip("0123456789"), name.lstrip("uint")
    if kind not in ("int", "uint"):
        raise NotImplementedError(f"{name} has no gradient here")
    return (
        (0, 2 ** int(bits) - 1)
        if kind == "uint"
        else (-(2 ** (int(bits) - 1)), 2 ** (int(bits) - 1) - 1)
    )


def _along(node: Node, x: Tensor, value: Tensor | None) -> Tensor | None:
    """A scale or zero point in a shape that multiplies ``x``: one, of an axis, or of blocks."""
    if value is None or value.ndim == 0:
        return value
    axis, block = node.get("axis", 1), node.get("block_size", 0)
    if block:
        wide = value.repeat_interleave(block, axis)
        return wide.narrow(axis, 0, x.shape[axis])
    if value.numel() == 1:
        return value.reshape(())
    return value.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])


@operator("DynamicQuantizeLinear")
def _dynamic_quantize(_node: Node, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    low, high = torch.clamp(x.min(), max=0), torch.clamp(x.max(), min=0)
    scale = ((high - low) / 255).detach()
    zero = torch.clamp(torch.round(-low / scale), 0, 255).detach()
    zero = torch.where(scale == 0, 0, zero)
    steps = x / torch.where(scale == 0, 1, scale)
    return torch.clamp(straight_through(steps) + zero, 0, 255), scale, zero
