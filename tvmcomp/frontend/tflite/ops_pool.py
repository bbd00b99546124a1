"""Pools, resizing and normalization of images."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.frontend.tflite.call import Call, Converter
from tvmcomp.frontend.tflite.fixed_point import is_short
from tvmcomp.frontend.tflite.integer_resize import byte_places, integer_resize, short_places
from tvmcomp.frontend.tflite.windows import geometry, image


def _pool(call: Call, kind: str) -> None:
    options = call.options("Pool2DOptions")
    window = geometry(
        image(call)[1:3],
        (options.FilterHeight(), options.FilterWidth()),
        (options.StrideH(), options.StrideW()),
        (1, 1),
        options.Padding(),
    )
    del window["dilations"]
    data = call.channels_first(call.real(0))
    if kind == "L2":
        data = call.node("Mul", data, data)
    result = call.node("MaxPool" if kind == "Max" else "AveragePool", data, **window)
    if kind == "L2":
        result = call.node("Sqrt", result)
    if kind == "Average" and call.tensor(0).quantized:
        result = _halves_away(call, result, options.FilterHeight() * options.FilterWidth())
    result = call.activated(result, options.FusedActivationFunction())
    call.give(call.channels_last(result))


def _halves_away(call: Call, result: str, count: int) -> str:
    """An average of ``count`` stored integers, moved off the middle between two of them.

    Averages of few numbers often lie there. TensorFlow Lite rounds them away from a stored 0, and
    QuantizeLinear to the even neighbour.
    """
    quantization = call.tensor(0).quantization
    if quantization is None or not quantization.per_tensor:
        return result
    scale, zero = (
        float(each.reshape(-1)[0]) for each in (quantization.scale, quantization.zero_point)
    )
    origin = call.w.constant(np.float32(-scale * zero))  # what a stored 0 stands for
    nudge = call.w.constant(np.float32(scale / (4 * count)))
    side = call.node("Sign", call.node("Sub", result, origin))
    return call.node("Add", result, call.node("Mul", side, nudge))


def max_pool_2d(call: Call) -> None:
    """MAX_POOL_2D."""
    _pool(call, "Max")


def average_pool_2d(call: Call) -> None:
    """AVERAGE_POOL_2D: padding does not count."""
    _pool(call, "Average")


def l2_pool_2d(call: Call) -> None:
    """L2_POOL_2D: the root of the mean of squares."""
    _pool(call, "L2")


def _resize(call: Call, **attributes: Any) -> None:
    batch, _, _, channels = image(call)
    sizes = [int(size) for size in call.constant(1).reshape(-1)]
    # All sizes where they are known: not every tool is right about some of the axes.
    known = min(batch, channels) > 0
    result = call.node(
        "Resize",
        call.channels_first(call.real(0)),
        "",
        "",
        call.w.ints([batch, channels, *sizes] if known else sizes),
        axes=None if known else [2, 3],
        **attributes,
    )
    call.give(call.channels_last(result))


def resize_bilinear(call: Call) -> None:
    """RESIZE_BILINEAR."""
    options = call.options("ResizeBilinearOptions")
    if call.tensor(0).quantized and min(image(call)[1:3]) > 0:
        find = short_places if is_short(call.tensor(0)) else byte_places
        sizes = zip(image(call)[1:3], call.constant(1).reshape(-1), strict=True)
        how = bool(options.AlignCorners()), bool(options.HalfPixelCenters())
        integer_resize(call, *(find(size, int(wanted), *how) for size, wanted in sizes))
        return
    centers = "half_pixel" if options.HalfPixelCenters() else "asymmetric"
    mode = "align_corners" if options.AlignCorners() else centers
    _resize(call, mode="linear", coordinate_transformation_mode=mode)


def resize_nearest_neighbor(call: Call) -> None:
    """RESIZE_NEAREST_NEIGHBOR: down, or to the nearest with halves up where pixels have centres
    or corners meet."""
    options = call.options("ResizeNearestNeighborOptions")
    mode = "half_pixel" if options.HalfPixelCenters() else "asymmetric"
    if options.AlignCorners():
        mode = "align_corners"
    _resize(
        call,
        mode="nearest",
        coordinate_transformation_mode=mode,
        nearest_mode="floor" if mode == "asymmetric" else "round_prefer_ceil",
    )


def local_response_normalization(call: Call) -> None:
    """LOCAL_RESPONSE_NORMALIZATION, over channels."""
    options = call.options("LocalResponseNormalizationOptions")
    size = 2 * options.Radius() + 1
    result = call.node(
        "LRN",
        call.channels_first(call.real(0)),
        size=size,
        alpha=float(options.Alpha()) * size,
        beta=float(options.Beta()),
        bias=float(options.Bias()),
    )
    call.give(call.channels_last(result))


#: Operator of the source -> converter.
POOL: dict[str, Converter] = {
    "AVERAGE_POOL_2D": average_pool_2d,
    "L2_POOL_2D": l2_pool_2d,
    "LOCAL_RESPONSE_NORMALIZATION": local_response_normalization,
    "MAX_POOL_2D": max_pool_2d,
    "RESIZE_BILINEAR": resize_bilinear,
    "RESIZE_NEAREST_NEIGHBOR": resize_nearest_neighbor,
}
