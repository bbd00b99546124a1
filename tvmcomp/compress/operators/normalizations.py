"""Operators that bring data to a mean of 0 or a length of 1."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tvmcomp.compress.operators.table import Node, Tensor, operator


@operator("BatchNormalization", settings=(3, 4))
def _batch_norm(
    node: Node, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
) -> Tensor:
    """Of a network in use: by the statistics that it holds."""
    along = [-1, *[1] * (x.ndim - 2)]
    factor = scale * torch.rsqrt(variance + node["epsilon"])
    return (x - mean.reshape(along)) * factor.reshape(along) + bias.reshape(along)


@operator("InstanceNormalization")
def _instance_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    along = [-1, *[1] * (x.ndim - 2)]
    normal = _normalized(x, list(range(2, x.ndim)), node["epsilon"])
    return normal * scale.reshape(along) + bias.reshape(along)


@operator("GroupNormalization")
def _group_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    groups = node["num_groups"]
    rows = x.reshape(x.shape[0], groups, -1)
    normal = _normalized(rows, [2], node["epsilon"]).reshape(x.shape)
    if node.opset < 21:  # a scale for each group
        scale, bias = (v.repeat_interleave(x.shape[1] // groups) for v in (scale, bias))
    along = [-1, *[1] * (x.ndim - 2)]
    return normal * scale.reshape(along) + bias.reshape(along)


@operator("LayerNormalization")
def _layer_norm(
    node: Node, x: Tensor, scale: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    axes = list(range(node["axis"] % x.ndim, x.ndim))
    mean = x.mean(axes, keepdim=True)
    centred = x - mean
    inverse = torch.rsqrt((centred * centred).mean(axes, keepdim=True) + node["epsilon"])
    normal = centred * inverse * scale
    return normal if bias is None else normal + bias, mean, inverse


@operator("com.microsoft.SkipLayerNormalization")
def _skip_layer_norm(
    node: Node,
    x: Tensor,
    skip: Tensor,
    scale: Tensor,
    beta: Tensor | None = None,
    bias: Tensor | None = None,
) -> tuple[Tensor | None, ...]:
    total = x + skip if bias is None else x + skip + bias
    normal = _normalized(total, [-1], node.get("epsilon", 1e-12)) * scale
    return normal if beta is None else normal + beta, None, None, total


@operator("com.microsoft.SkipSimplifiedLayerNormalization")
def _skip_rms_norm(
    node: Node, x: Tensor, skip: Tensor, scale: Tensor, bias: Tensor | None = None
) -> tuple[Tensor | None, ...]:
    total = x + skip if bias is None else x + skip + bias
    square = (total * total).mean(-1, keepdim=True)
    return total * torch.rsqrt(square + node.get("epsilon", 1e-12)) * scale, None, None, total


@operator("com.microsoft.EmbedLayerNormalization")
def _embed_layer_norm(
    node: Node,
    ids: Tensor,
    segments: Tensor | None,
    words: Tensor,
    positions: Tensor,
    segment_table: Tensor | None,
    scale: Tensor,
    bias: Tensor,
    mask: Tensor | None = None,
    places: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    total = (
        words[ids.long()]
        + positions[torch.arange(ids.shape[1]) if places is None else places.long()]
    )
    if segments is not None and segment_table is not None:
        total = total + segment_table[segments.long()]
    normal = _normalized(total, [-1], node.get("epsilon", 1e-12)) * scale + bias
    lengths = ids.new_zeros(ids.shape[0]) if mask is None else mask.sum(1)
    return normal, lengths.to(torch.int32)


@operator("RMSNormalization", "com.microsoft.SimplifiedLayerNormalization")
def _rms_norm(node: Node, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    axes = list(range(node.get("axis", -1) % x.ndim, x.ndim))
    inverse = torch.rsqrt((x * x).mean(axes, keepdim=True) + node.get("epsilon", 1e-5))
    return x * inverse * scale, inverse


@operator("MeanVarianceNormalization")
def _mean_variance(node: Node, x: Tensor) -> Tensor:
    axes = list(node.get("axes", (0, 2, 3)))
    centred = x - x.mean(axes, keepdim=True)
    return centred / ((centred * centred).mean(axes, keepdim=True).sqrt() + 1e-9)


@operator("LpNormalization")
def _lp_norm(node: Node, x: Tensor) -> Tensor:
    length = torch.linalg.vector_norm(x, node["p"], node["axis"], keepdim=True)
    return torch.where(length == 0, 0, x / torch.where(length == 0, 1, length))


@operator("LRN")
def _lrn(node: Node, x: Tensor) -> Tensor:
    size, channels = node["size"], x.shape[1]
    around = F.pad(x * x, [0, 0] * (x.ndim - 2) + [(size - 1) // 2, size // 2])
    sums = sum(around.narrow(1, shift, channels) for shift in range(size))
    return x / (node["bias"] + node["alpha"] / size * sums) ** node["beta"]


def _normalized(x: Tensor, axes: list[int], epsilon: float) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    return centred * torch.rsqrt((centred * centred).mean(axes, keepdim=True) + epsilon)
