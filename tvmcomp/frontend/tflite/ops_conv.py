"""Convolutions and pools. Data is NHWC in the source and NCHW in ONNX: a Transpose stands on each
side, and the importer's own layout, NHWC again, cancels them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tvmcomp.frontend.tflite.call import Call
from tvmcomp.frontend.tflite.weights import bias, weight

#: The schema's `Padding`.
_SAME = 0


def geometry(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: int,
) -> dict[str, Any]:
    """ONNX's attributes of a window over ``sizes`` (-1: known at run time).

    SAME gives ``ceil(size / stride)`` results and pads the odd pixel behind.
    """
    attributes: dict[str, Any] = {
        "kernel_shape": list(kernel),
        "strides": list(strides),
        "dilations": list(dilations),
    }
    if min(strides) < 1 or min(dilations) < 1 or min(kernel) < 1:
        raise ValueError("its strides, dilations and kernel are not all 1 or more")
    if padding != _SAME:
        return attributes
    if min(sizes) < 0:
        return {**attributes, "auto_pad": "SAME_UPPER"}
    pads = [
        max((-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size, 0)
        for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    begin = [pad // 2 for pad in pads]
    return {**attributes, "pads": [*begin, *(a - b for a, b in zip(pads, begin, strict=True))]}


def _image(call: Call, rank: int = 4) -> tuple[int, ...]:
    shape = call.shape(0)
    if len(shape) != rank:
        raise ValueError(f"its data has {len(shape)} dimensions, not {rank}")
    return shape


def conv_2d(call: Call) -> None:
    """CONV_2D: weights OHWI; fewer input channels than the data's are groups."""
    options = call.options("Conv2DOptions")
    shape, kernel = _image(call), call.static(1)
    groups = shape[3] // kernel[3] if kernel[3] > 0 and shape[3] > 0 else 1
    _convolve(call, options, shape, kernel[1:3], max(groups, 1), [0, 3, 1, 2])


def depthwise_conv_2d(call: Call) -> None:
    """DEPTHWISE_CONV_2D: weights 1HWO, each channel a group."""
    options = call.options("DepthwiseConv2DOptions")
    shape, kernel = _image(call), call.static(1)
    if kernel[0] != 1 or shape[3] < 1 or kernel[3] % shape[3]:
        raise ValueError(f"its weights {list(kernel)} don't fit {shape[3]} channels")
    _convolve(call, options, shape, kernel[1:3], shape[3], [3, 0, 1, 2])


def _convolve(
    call: Call,
    options: Any,
    shape: Sequence[int],
    kernel: Sequence[int],
    groups: int,
    axes: Sequence[int],
) -> None:
    window = geometry(
        shape[1:3],
        kernel,
        (options.StrideH(), options.StrideW()),
        (options.DilationHFactor(), options.DilationWFactor()),
        options.Padding(),
    )
    result = call.node(
        "Conv",
        call.channels_first(call.real(0)),
        weight(call, 1, axes),
        bias(call, 2, call.tensor(0), call.tensor(1)),
        group=groups,
        **window,
    )
    result = call.activated(result, options.FusedActivationFunction())
    call.give(call.channels_last(result))


def conv_3d(call: Call) -> None:
    """CONV_3D: weights DHWIO."""
    options = call.options("Conv3DOptions")
    shape, kernel = _image(call, 5), call.static(1)
    window = geometry(
        shape[1:4],
        kernel[:3],
        (options.StrideD(), options.StrideH(), options.StrideW()),
        (options.DilationDFactor(), options.DilationHFactor(), options.DilationWFactor()),
        options.Padding(),
    )
    result = call.node(
        "Conv",
        call.channels_first(call.real(0), 5),
        weight(call, 1, [4, 3, 0, 1, 2]),
        bias(call, 2, call.tensor(0), call.tensor(1)),
        group=max(shape[4] // max(kernel[3], 1), 1),
        **window,
    )
    result = call.activated(result, options.FusedActivationFunction())
    call.give(call.channels_last(result, 5))


def transpose_conv(call: Call) -> None:
    """TRANSPOSE_CONV: inputs are the result's shape, weights OHWI, data, bias.

    It is the gradient of the convolution that makes the data of the result, whose padding it has.
    """
    options = call.options("TransposeConvOptions")
    wanted, shape, kernel = call.constant(0), call.shape(2), call.static(1)
    if len(shape) != 4 or len(wanted) != 4:
        raise ValueError("it has no images of four dimensions")
    strides = (options.StrideH(), options.StrideW())
    if min(shape[1:3]) < 0:
        raise ValueError("the size of its data depends on run-time values")
    # What the strides spread, less what the result keeps of it.
    cut = [
        (size - 1) * stride + k - int(target)
        for size, stride, k, target in zip(
            shape[1:3], strides, kernel[1:3], wanted[1:3], strict=True
        )
    ]
    begin = [max(pixels, 0) // 2 for pixels in cut]
    result = call.node(
        "ConvTranspose",
        call.channels_first(call.real(2)),
        weight(call, 1, [3, 0, 1, 2]),
        bias(call, 3, call.tensor(2), call.tensor(1)),
        kernel_shape=list(kernel[1:3]),
        strides=list(strides),
        pads=[*begin, *(max(c, 0) - b for c, b in zip(cut, begin, strict=True))],
        output_padding=[max(-pixels, 0) for pixels in cut] if min(cut) < 0 else None,
    )
    result = call.activated(result, options.FusedActivationFunction())
    call.give(call.channels_last(result))


def _pool(call: Call, kind: str) -> None:
    options = call.options("Pool2DOptions")
    window = geometry(
        _image(call)[1:3],
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
    batch, _, _, channels = _image(call)
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


def depth_to_space(call: Call) -> None:
    """DEPTH_TO_SPACE. In NHWC it is one transposition of rows and of what lies within a block."""
    size = call.options("DepthToSpaceOptions").BlockSize()
    _, height, width, channels = _image(call)
    if min(height, width, channels) < 1 or size < 1 or channels % (size * size):
        raise ValueError(f"blocks of {size} don't fit {height} x {width} x {channels}")
    channels //= size * size
    _blocks(call, [height, width, size, size], [height * size, width * size, channels])


def space_to_depth(call: Call) -> None:
    """SPACE_TO_DEPTH: the other way round."""
    size = call.options("SpaceToDepthOptions").BlockSize()
    _, height, width, channels = _image(call)
    if min(height, width, channels) < 1 or size < 1 or height % size or width % size:
        raise ValueError(f"blocks of {size} don't fit {height} x {width} x {channels}")
    height, width = height // size, width // size
    _blocks(call, [height, size, width, size], [height, width, size * size * channels])


def _blocks(call: Call, split: list[int], final: list[int]) -> None:
    parts = call.node("Reshape", call.real(0), call.w.ints([0, *split, -1]))
    moved = call.transposed(parts, [0, 1, 3, 2, 4, 5])
    call.give(call.node("Reshape", moved, call.w.ints([0, *final])))


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


def space_to_batch_nd(call: Call) -> None:
    """SPACE_TO_BATCH_ND: pad, and move each place within a block to the batch."""
    shape, blocks, pads = call.static(0), call.constant(1), call.constant(2)
    spatial = len(blocks)
    outer, rest = shape[1 : 1 + spatial], shape[1 + spatial :]
    if len(outer) != spatial or pads.shape != (spatial, 2) or (blocks < 1).any():
        raise ValueError("its blocks and paddings don't fit its data")
    before, after = pads.T.astype(int)
    zeros = [0] * len(rest)
    name = call.node("Pad", call.real(0), call.w.ints([0, *before, *zeros, 0, *after, *zeros]))
    padded = [int(size + p) for size, p in zip(outer, pads.sum(axis=1), strict=True)]
    split = [
        each for size, b in zip(padded, blocks, strict=True) for each in (size // int(b), int(b))
    ]
    name = call.node("Reshape", name, call.w.ints([shape[0], *split, *rest]))
    places = [2 * i + 2 for i in range(spatial)]
    kept = [2 * i + 1 for i in range(spatial)]
    tail = range(1 + 2 * spatial, 1 + 2 * spatial + len(rest))
    name = call.transposed(name, [*places, 0, *kept, *tail])
    final = [shape[0] * int(np.prod(blocks)), *split[0::2], *rest]
    call.give(call.node("Reshape", name, call.w.ints(final)))


def batch_to_space_nd(call: Call) -> None:
    """BATCH_TO_SPACE_ND: the other way round, and crop."""
    shape, blocks, crops = call.static(0), call.constant(1), call.constant(2)
    spatial, batch = len(blocks), shape[0] // max(int(np.prod(blocks)), 1)
    outer, rest = shape[1 : 1 + spatial], shape[1 + spatial :]
    if len(outer) != spatial or crops.shape != (spatial, 2) or (blocks < 1).any():
        raise ValueError("its blocks and crops don't fit its data")
    name = call.node("Reshape", call.real(0), call.w.ints([*blocks, batch, *outer, *rest]))
    pairs = [each for i in range(spatial) for each in (spatial + 1 + i, i)]
    tail = range(1 + 2 * spatial, 1 + 2 * spatial + len(rest))
    name = call.transposed(name, [spatial, *pairs, *tail])
    whole = [int(size * b) for size, b in zip(outer, blocks, strict=True)]
    name = call.node("Reshape", name, call.w.ints([batch, *whole, *rest]))
    if crops.any():
        ends = [size - int(c) for size, c in zip(whole, crops[:, 1], strict=True)]
        axes = range(1, 1 + spatial)
        name = call.node(
            "Slice", name, call.w.ints(crops[:, 0]), call.w.ints(ends), call.w.ints([*axes])
        )
    call.give(name)


#: Operator of the source -> converter.
CONV = {
    "AVERAGE_POOL_2D": average_pool_2d,
    "BATCH_TO_SPACE_ND": batch_to_space_nd,
    "CONV_2D": conv_2d,
    "CONV_3D": conv_3d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "DEPTH_TO_SPACE": depth_to_space,
    "L2_POOL_2D": l2_pool_2d,
    "LOCAL_RESPONSE_NORMALIZATION": local_response_normalization,
    "MAX_POOL_2D": max_pool_2d,
    "RESIZE_BILINEAR": resize_bilinear,
    "RESIZE_NEAREST_NEIGHBOR": resize_nearest_neighbor,
    "SPACE_TO_BATCH_ND": space_to_batch_nd,
    "SPACE_TO_DEPTH": space_to_depth,
    "TRANSPOSE_CONV": transpose_conv,
}
