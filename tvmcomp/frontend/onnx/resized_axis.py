"""What Resize does along each axis: the indices that it reads, or the matrix that it multiplies by.

Both are computed in single precision, as ONNX Runtime computes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx.reference

from tvmcomp.frontend.onnx.limits import RESIZE_ELEMENTS


@dataclass(frozen=True)
class ResizedAxis:
    """How one axis is resized: ``scale`` is what coordinates are computed with."""

    index: int
    size_in: int
    size_out: int
    scale: float
    region: tuple[float, float]


def axes_of_node(
    shape: list[int],
    attr: dict[str, Any],
    roi: list[float],
    scales: list[float],
    sizes: list[float],
) -> list[ResizedAxis]:
    """The axes that a Resize node (of set 11 or newer) changes.

    Args:
        shape: of what is resized.
        attr: the node's attributes, words as bytes.
        roi, scales, sizes: the node's inputs; empty for what is left out.

    Raises:
        ValueError: there are neither scales nor sizes.
    """
    chosen = [axis % len(shape) for axis in attr.get("axes", range(len(shape)))]
    if attr.get("coordinate_transformation_mode") != b"tf_crop_and_resize":
        roi = []
    half = len(roi) // 2
    regions = {a: (roi[i], roi[i + half]) for i, a in enumerate(chosen)} if roi else {}
    if sizes:
        wanted = dict(zip(chosen, (int(size) for size in sizes), strict=True))
        return _axes_of_sizes(shape, wanted, regions, attr)
    if not scales:
        raise ValueError("it has neither scales nor sizes")
    full = [1.0] * len(shape)
    for axis, scale in zip(chosen, scales, strict=True):
        full[axis] = scale
    return axes_of_scales(shape, full, regions)


def axes_of_scales(
    shape: list[int], scales: list[float], regions: dict[int, tuple[float, float]]
) -> list[ResizedAxis]:
    """The axes that change, by the scale of each axis and the regions that are cut out first."""
    axes = []
    for index, (size, scale) in enumerate(zip(shape, scales, strict=True)):
        region = regions.get(index, (0.0, 1.0))
        size_out = int(np.floor(size * (region[1] - region[0]) * np.float32(scale)))
        if scale != 1 or region != (0.0, 1.0):
            axes.append(ResizedAxis(index, size, size_out, scale, region))
    return axes


def _axes_of_sizes(
    shape: list[int],
    wanted: dict[int, int],
    regions: dict[int, tuple[float, float]],
    attr: dict[str, Any],
) -> list[ResizedAxis]:
    policy = attr.get("keep_aspect_ratio_policy", b"stretch").decode()
    if policy != "stretch":
        choose = min if policy == "not_larger" else max
        common = choose(size / shape[axis] for axis, size in wanted.items())
        scales = [common if axis in wanted else 1.0 for axis in range(len(shape))]
        return [
            ResizedAxis(
                axis,
                shape[axis],
                int(np.floor(shape[axis] * scales[axis] + 0.5)),
                common,
                (0.0, 1.0),
            )
            for axis in wanted
        ]
    return [
        ResizedAxis(axis, shape[axis], size, size / shape[axis], regions.get(axis, (0.0, 1.0)))
        for axis, size in wanted.items()
        if size != shape[axis] or axis in regions
    ]


def nearest_indices(axis: ResizedAxis, attr: dict[str, Any]) -> np.ndarray:
    """Return the (size_out,) int64 indices that nearest-neighbour resizing reads.

    In single precision, as ONNX Runtime computes: whether 3 / 0.6 floors to 4 or 5 hangs on it.
    """
    place = np.arange(axis.size_out, dtype=np.float32)
    scale, half = np.float32(axis.scale), np.float32(0.5)
    transform = attr.get("coordinate_transformation_mode", b"half_pixel").decode()
    if transform == "asymmetric":
        source = place / scale
    elif transform == "half_pixel" or (transform == "pytorch_half_pixel" and axis.size_out > 1):
        source = (place + half) / scale - half
    elif transform == "pytorch_half_pixel":
        source = np.zeros_like(place)
    elif transform == "align_corners":
        source = place * np.float32(axis.size_in - 1) / np.float32(max(axis.size_out - 1, 1))
    else:
        return resize_matrix(axis, attr).argmax(0).astype("int64")
    roundings: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "round_prefer_floor": lambda x: np.ceil(x - half),
        "round_prefer_ceil": lambda x: np.floor(x + half),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    rounding = roundings[attr.get("nearest_mode", b"round_prefer_floor").decode()]
    return np.clip(rounding(source), 0, axis.size_in - 1).astype("int64")


def resize_matrix(axis: ResizedAxis, attr: dict[str, Any]) -> np.ndarray:
    """Return the (size_in, size_out) matrix that resizes along one axis: resize the identity."""
    if axis.size_in * axis.size_out > RESIZE_ELEMENTS:
        raise ValueError(
            f"resizing an axis of {axis.size_in} to {axis.size_out} in this mode takes a matrix of "
            f"more than {RESIZE_ELEMENTS:,} elements, which is the limit"
        )
    # A scale of single precision may miss the size that it was computed from by a last bit, and
    # the reference aligns corners with the size before rounding, ONNX Runtime with the whole one:
    # then the sizes say what the scale is.
    corners = attr.get("coordinate_transformation_mode") == b"align_corners"
    exact = abs(axis.size_in * axis.scale - axis.size_out) < 1e-5 * axis.size_out
    by_sizes = axis.region == (0.0, 1.0) and (corners or exact)
    kept = ("coordinate_transformation_mode", "cubic_coeff_a", "exclude_outside", "mode",
            "nearest_mode", "antialias")  # fmt: skip
    node = onnx.helper.make_node(
        "Resize",
        ["x", "roi", "", "sizes"] if by_sizes else ["x", "roi", "scales"],
        ["y"],
        axes=[1],
        **{name: attr[name] for name in kept if name in attr},
    )
    graph = onnx.helper.make_graph(
        [node],
        "resize",
        [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            for name in ("x", "roi", "scales")
        ]
        + [onnx.helper.make_tensor_value_info("sizes", onnx.TensorProto.INT64, None)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)])
    feeds = {
        "x": np.eye(axis.size_in, dtype=np.float32),
        "roi": np.array(axis.region, np.float32),
        "scales": np.array([axis.scale], np.float32),
        "sizes": np.array([axis.size_out], np.int64),
    }
    (matrix,) = onnx.reference.ReferenceEvaluator(model).run(None, feeds)
    # Each column depends on its own place only; the reference rounds the size in double precision.
    if matrix.shape[1] < axis.size_out:
        raise ValueError(f"a scale of {axis.scale} does not give {axis.size_out} elements")
    return np.asarray(matrix[:, : axis.size_out], np.float32)
