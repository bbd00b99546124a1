"""What Resize does along each axis: the indices that it reads, or the matrix that it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

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
    """The axes that change, by the scale of each axis and the regions that are cut out first.

    As ONNX Runtime and onnx's inference of shapes have it, a region does not change the size.
    """
    axes = []
    for index, (size, scale) in enumerate(zip(shape, scales, strict=True)):
        region = regions.get(index, (0.0, 1.0))
        size_out = int(np.floor(size * np.float32(scale)))
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
    """Return the (size_out,) int64 indices that nearest-neighbour resizing reads."""
    half = np.float32(0.5)
    roundings: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "round_prefer_floor": lambda x: np.ceil(x - half),
        "round_prefer_ceil": lambda x: np.floor(x + half),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    rounding = roundings[attr.get("nearest_mode", b"round_prefer_floor").decode()]
    return np.clip(rounding(_coordinates(axis, attr)), 0, axis.size_in - 1).astype("int64")


def outside(axis: ResizedAxis, attr: dict[str, Any]) -> np.ndarray:
    """Return the (size_out,) elements, as booleans, that lie outside of what is resized.

    Only tf_crop_and_resize has such; they get its ``extrapolation_value``.
    """
    if attr.get("coordinate_transformation_mode") != b"tf_crop_and_resize":
        return np.zeros(axis.size_out, bool)
    source = _coordinates(axis, attr)
    return (source < 0) | (source > axis.size_in - 1)


def resize_matrix(axis: ResizedAxis, attr: dict[str, Any]) -> np.ndarray:
    """Return the float32 (size_in, size_out) matrix that interpolates along one axis."""
    if axis.size_in * axis.size_out > RESIZE_ELEMENTS:
        raise ValueError(
            f"resizing an axis of {axis.size_in} to {axis.size_out} in this mode takes a matrix of "
            f"more than {RESIZE_ELEMENTS:,} elements, which is the limit"
        )
    cubic = attr.get("mode") == b"cubic"
    a = np.float32(attr.get("cubic_coeff_a", -0.75))
    source = _coordinates(axis, attr)
    # What shrinks is smoothed: the filter is as wide as the elements that become one.
    wide = np.float32(max(1 / axis.scale, 1.0)) if attr.get("antialias", 0) else np.float32(1)
    reach = int(np.ceil((2 if cubic else 1) * wide)) + 1
    places = np.floor(source).astype("int64") + np.arange(-reach, reach + 1)[:, None]
    distance = np.abs((places - source) / wide)
    weights = _cubic(distance, a) if cubic else np.maximum(1 - distance, 0)
    if attr.get("exclude_outside", 0):
        weights = np.where((places >= 0) & (places < axis.size_in), weights, 0)
    total = weights.sum(0)
    weights = (weights / np.where(total == 0, 1, total)).astype("float32")
    matrix = np.zeros((axis.size_in, axis.size_out), "float32")
    every = np.broadcast_to(np.arange(axis.size_out), places.shape)
    np.add.at(matrix, (np.clip(places, 0, axis.size_in - 1), every), weights)
    return matrix


def _cubic(distance: np.ndarray, a: np.float32) -> np.ndarray:
    """The weight of an element at ``distance``: Keys, "Cubic convolution interpolation for digital
    image processing" (1981)."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = (((distance - 5) * distance + 8) * distance - 4) * a
    return np.where(distance < 1, near, np.where(distance < 2, far, 0))


def _coordinates(axis: ResizedAxis, attr: dict[str, Any]) -> np.ndarray:
    """Where each element lies on the axis before, in elements.

    In single precision, as ONNX Runtime computes: whether 3 / 0.6 floors to 4 or 5 hangs on it.
    """
    place = np.arange(axis.size_out, dtype=np.float32)
    scale, half, last = np.float32(axis.scale), np.float32(0.5), np.float32(axis.size_in - 1)
    steps = np.float32(max(axis.size_out - 1, 1))
    start, end = (np.float32(edge) for edge in axis.region)
    transform = attr.get("coordinate_transformation_mode", b"half_pixel").decode()
    centred = (place + half) / scale - half
    if transform == "half_pixel_symmetric":
        # The image stays in the middle where its size is no integer before rounding.
        share = np.float32(axis.size_out) / (scale * np.float32(axis.size_in))
        return centred + np.float32(axis.size_in) / 2 * (1 - share)
    if transform == "asymmetric":
        return place / scale
    if transform == "tf_half_pixel_for_nn":
        return (place + half) / scale
    if transform == "align_corners":
        return place * last / steps
    if transform == "tf_crop_and_resize":
        if axis.size_out < 2:
            return np.full(axis.size_out, half * (start + end) * last)
        return start * last + place * (end - start) * last / steps
    if transform == "pytorch_half_pixel" and axis.size_out == 1:
        return np.zeros_like(place)
    return centred
