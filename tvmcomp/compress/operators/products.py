"""Operators that multiply data by weights, or data by data."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tvmcomp.compress.operators.table import Node, Tensor, operator
from tvmcomp.compress.operators.windows import padded, window_pads

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@operator("MatMul")
def _matmul(_node: Node, a: Tensor, b: Tensor) -> Tensor:
    return torch.matmul(a, b)


@operator("com.microsoft.FusedMatMul")
def _fused_matmul(node: Node, a: Tensor, b: Tensor) -> Tensor:
    a = a.mT if node.get("transA", 0) and a.ndim > 1 else a
    b = b.mT if node.get("transB", 0) and b.ndim > 1 else b
    return node.get("alpha", 1.0) * torch.matmul(a, b)


@operator("Gemm")
def _gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a = a.T if node["transA"] else a
    b = b.T if node["transB"] else b
    product = node["alpha"] * (a @ b)
    return (product if c is None else product + node["beta"] * c).to(a.dtype)


@operator("Einsum")
def _einsum(node: Node, *inputs: Tensor) -> Tensor:
    return torch.einsum(node["equation"].replace(" ", ""), *inputs)


@operator("Conv")
def _conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    dims = x.ndim - 2
    strides = node.get("strides", [1] * dims)
    dilations = node.get("dilations", [1] * dims)
    before, after = window_pads(node, x.shape[2:], weight.shape[2:], strides, dilations)
    if before != after:
        x, before = padded(x, before, after, 0.0), [0] * dims
    return _CONVOLUTIONS[dims](x, weight, bias, strides, before, dilations, node["group"])


@operator("ConvTranspose")
def _conv_transpose(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Of no padding, cut or widened afterwards: that holds for each way to give the size."""
    dims = x.ndim - 2
    strides = node.get("strides", [1] * dims)
    dilations = node.get("dilations", [1] * dims)
    full = _TRANSPOSED[dims](x, weight, None, strides, 0, 0, node["group"], dilations)
    extra = node.get("output_padding", [0] * dims)
    sizes = [size + more for size, more in zip(full.shape[2:], extra, strict=True)]
    wanted = node.get("output_shape")
    if wanted is not None:
        wanted = wanted[-dims:]
    elif node.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [size * stride for size, stride in zip(x.shape[2:], strides, strict=True)]
    if wanted is None:
        pads = node.get("pads", [0] * 2 * dims)
        before, after = pads[:dims], pads[dims:]
    else:
        total = [size - want for size, want in zip(sizes, wanted, strict=True)]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        lower = node.get("auto_pad") == "SAME_UPPER"
        before, after = (small, large) if lower else (large, small)
    after = [end - more for end, more in zip(after, extra, strict=True)]
    cut = padded(full, [-p for p in before], [-p for p in after], 0.0)
    return cut if bias is None else cut + bias.reshape(-1, *[1] * dims)


@operator("ConvInteger", "MatMulInteger", "com.microsoft.MatMulInteger16")
def _in_integers(
    node: Node,
    x: Tensor,
    weight: Tensor,
    x_zero: Tensor | None = None,
    weight_zero: Tensor | None = None,
) -> Tensor:
    """In double precision, which holds all sums of 32 bits, so that gradients flow."""
    product = node.operator != "ConvInteger"
    x, weight = x.double(), weight.double()
    if x_zero is not None:  # of a row of the left side
        per_row = product and x_zero.numel() > 1
        x = x - (x_zero.reshape(-1, 1) if per_row else x_zero).double()
    if weight_zero is not None:  # of a column of the right side, or of an output channel
        wide = weight_zero.double()
        if not product and wide.numel() > 1:
            wide = wide.reshape(-1, *[1] * (weight.ndim - 1))
        weight = weight - wide
    return torch.matmul(x, weight) if product else _conv(node, x, weight)
