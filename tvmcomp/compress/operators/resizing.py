"""Resize and Upsample: along each axis the indices or the matrix that the importer takes."""

from __future__ import annotations

from typing import Any

import torch

from tvmcomp.compress.operators.table import Node, Tensor, numbers, of_floats, operator
from tvmcomp.frontend.onnx.resized_axis import (
    ResizedAxis,
    axes_of_node,
    axes_of_scales,
    nearest_indices,
    outside,
    resize_matrix,
)


@operator("Upsample", settings=(1,))
@of_floats
def _upsample(node: Node, x: Tensor, scales: Tensor | None = None) -> Tensor:
    return _set_10(node, x, numbers(scales) or list(node["scales"]))


@operator("Resize", settings=(1, 2, 3))
@of_floats
def _resize(node: Node, x: Tensor, *inputs: Tensor | None) -> Tensor:
    given = [numbers(each) for each in inputs]
    if node.opset < 11:
        return _set_10(node, x, given[0])
    given += [[] for _ in range(3 - len(given))]
    roi, scales, sizes = given
    attributes = _as_bytes(node)
    return _along(x, axes_of_node(list(x.shape), attributes, roi, scales, sizes), attributes)


def _set_10(node: Node, x: Tensor, scales: list[float]) -> Tensor:
    """Before set 11 there are no coordinate modes."""
    attributes = {
        "mode": node["mode"].encode(),
        "coordinate_transformation_mode": b"asymmetric",
        "nearest_mode": b"ceil" if any(scale < 1 for scale in scales) else b"floor",
    }
    return _along(x, axes_of_scales(list(x.shape), scales, {}), attributes)


def _as_bytes(node: Node) -> dict[str, Any]:
    return {n: v.encode() if isinstance(v, str) else v for n, v in node.attributes.items()}


def _along(x: Tensor, axes: list[ResizedAxis], attributes: dict[str, Any]) -> Tensor:
    for axis in axes:
        if attributes["mode"] == b"nearest":
            x = x.index_select(axis.index, torch.from_numpy(nearest_indices(axis, attributes)))
        elif axis.size_in == 1 and axis.region == (0.0, 1.0):
            x = x.repeat_interleave(axis.size_out, axis.index)
        else:
            matrix = torch.from_numpy(resize_matrix(axis, attributes)).to(x)
            x = (x.movedim(axis.index, -1) @ matrix).movedim(-1, axis.index)
    for axis in axes:
        beyond = torch.from_numpy(outside(axis, attributes))
        along = [-1 if i == axis.index else 1 for i in range(x.ndim)]
        x = torch.where(beyond.reshape(along), attributes.get("extrapolation_value", 0.0), x)
    return x
