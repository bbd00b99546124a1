"""What operators that pad, resize and warp images ask of pads, regions and sizes."""

from __future__ import annotations

import numpy as np

from tvmcomp.frontend.onnx.node_facts import NodeFacts


def check_padded(node: NodeFacts) -> None:
    """No dimension is cut to less than nothing."""
    shape, pads, axes = node.shape(0), node.value(1), node.value(3)
    if shape is None or pads is None or (node.input(3) is not None and axes is None):
        return
    chosen = range(len(shape)) if axes is None else [int(a) % len(shape) for a in axes.reshape(-1)]
    for begin, end, axis in zip(pads, pads[len(chosen) :], chosen, strict=False):
        if shape[axis] + begin + end < 0:
            raise ValueError(f"its pads cut {-begin - end} of {shape[axis]} along dimension {axis}")
        rest = shape[axis] + min(begin, 0) + min(end, 0)
        if node.attributes.get("mode") == "reflect" and max(begin, end, 0) > max(rest - 1, 0):
            raise ValueError(f"its pads reflect {max(begin, end)} of {rest} along dimension {axis}")


def check_region(node: NodeFacts) -> None:
    """A region, where there is one, has a begin and an end for each axis that is resized."""
    rank, roi = node.rank(0), node.shape(1)
    if node.opset < 11 or rank is None or roi is None or roi == (0,):  # it had none before
        return
    wanted = 2 * len(node.attributes.get("axes") or range(rank))
    if roi != (wanted,):
        raise ValueError(f"its roi has the shape {list(roi)}, not {[wanted]}")


def check_affine_grid(node: NodeFacts) -> None:
    """The size is one of images, and of as many as there are maps."""
    theta, size = node.shape(0), node.value(1)
    if theta is None or size is None:
        return
    if len(theta) != 3 or size.ndim != 1:
        raise ValueError("its theta must have 3 dimensions, and its size 1")
    if np.any(size < 1):
        raise ValueError(f"its size is {size.tolist()}, and must be above 0")
    if size[0] != theta[0]:
        raise ValueError(f"its size is for a batch of {size[0]}, and theta of {theta[0]}")
