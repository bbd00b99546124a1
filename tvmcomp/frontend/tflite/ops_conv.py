"""Convolutions. Data is NHWC in the source and NCHW in ONNX: a Transpose stands on each side, and
the importer's own layout, NHWC again, cancels them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from tvmcomp.frontend.tflite.call import Call, Converter
from tvmcomp.frontend.tflite.weights import bias, weight
from tvmcomp.frontend.tflite.wide_sums import (
    halves,
    has_wide_sums,
    integer_sums,
    joined,
    requantized,
)
from tvmcomp.frontend.tflite.windows import geometry, image

#: The attributes of MediaPipe's transposed convolution.
_TRANSPOSE = struct.Struct("<3i")


def conv_2d(call: Call) -> None:
    """CONV_2D: weights OHWI; fewer input channels than the data's are groups."""
    options = call.options("Conv2DOptions")
    shape, kernel = image(call), call.static(1)
    groups = shape[3] // kernel[3] if kernel[3] > 0 and shape[3] > 0 else 1
    _convolve(call, options, shape, kernel[1:3], max(groups, 1), [0, 3, 1, 2])


def depthwise_conv_2d(call: Call) -> None:
    """DEPTHWISE_CONV_2D: weights 1HWO, each channel a group."""
    options = call.options("DepthwiseConv2DOptions")
    shape, kernel = image(call), call.static(1)
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
    if has_wide_sums(call):
        moved = np.ascontiguousarray(np.transpose(call.constant(1), axes))
        data = call.channels_first(call.stored(0))
        sums = integer_sums(call, "ConvInteger", data, moved, group=groups, **window)
        fused = options.FusedActivationFunction()
        result = requantized(call, sums, 2, [len(moved), 1, 1], fused)
        call.give_stored(call.channels_last(result))
        return
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
    shape, kernel = image(call, 5), call.static(1)
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


def _spread(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], wanted: Sequence[int]
) -> dict[str, Any]:
    """The attributes of a ConvTranspose of images of `sizes` that gives those that are `wanted`."""
    # What the strides spread, less what the result keeps of it.
    cut = [
        (size - 1) * stride + k - target
        for size, stride, k, target in zip(sizes, strides, kernel, wanted, strict=True)
    ]
    begin = [max(pixels, 0) // 2 for pixels in cut]
    return {
        "kernel_shape": list(kernel),
        "strides": list(strides),
        "pads": [*begin, *(max(c, 0) - b for c, b in zip(cut, begin, strict=True))],
        "output_padding": [max(-pixels, 0) for pixels in cut] if min(cut) < 0 else None,
    }


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
    window = _spread(shape[1:3], kernel[1:3], strides, [int(size) for size in wanted[1:3]])
    axes = [3, 0, 1, 2]
    if has_wide_sums(call, data=2):
        # Sums of halves are exact in float32 up to 500 products of the largest numbers.
        moved = call.w.constant(np.transpose(call.constant(1), axes).astype(np.float32))
        sums = joined(
            call,
            *(
                call.node("ConvTranspose", half, moved, **window)
                for half in halves(call, call.channels_first(call.stored(2)), "float32")
            ),
        )
        fused = options.FusedActivationFunction()
        result = requantized(call, sums, 3, [kernel[0], 1, 1], fused, data=2)
        call.give_stored(call.channels_last(result))
        return
    result = call.node(
        "ConvTranspose",
        call.channels_first(call.real(2)),
        weight(call, 1, axes),
        bias(call, 3, call.tensor(2), call.tensor(1)),
        **window,
    )
    result = call.activated(result, options.FusedActivationFunction())
    call.give(call.channels_last(result))


def transpose_conv_with_bias(call: Call) -> None:
    """MediaPipe's Convolution2DTransposeBias: inputs are data, weights OHWI, bias.

    Its attributes are three integers of C: the padding (1: SAME, 2: VALID), and the strides of
    columns and rows.
    """
    shape, kernel = image(call, 4), call.static(1)
    if len(call.operator.custom_options) < _TRANSPOSE.size:
        raise ValueError("its padding and strides are missing")
    padding, *strides = _TRANSPOSE.unpack_from(call.operator.custom_options)
    strides.reverse()
    if padding not in (1, 2) or min(strides) < 1:
        raise ValueError(f"its padding {padding} or its strides {strides} are not known")
    wanted = [
        stride * (size - 1) + k - (max(k - (size - 1) % stride - 1, 0) if padding == 1 else 0)
        for size, stride, k in zip(shape[1:3], strides, kernel[1:3], strict=True)
    ]
    result = call.node(
        "ConvTranspose",
        call.channels_first(call.real(0)),
        weight(call, 1, [3, 0, 1, 2]),
        bias(call, 2, call.tensor(0), call.tensor(1)),
        **_spread(shape[1:3], kernel[1:3], strides, wanted),
    )
    call.give(call.channels_last(result))


#: Operator of the source -> converter.
CONV: dict[str, Converter] = {
    "CONV_2D": conv_2d,
    "CONV_3D": conv_3d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "TRANSPOSE_CONV": transpose_conv,
}
#: Operator of MediaPipe -> converter.
CUSTOM_CONV: dict[str, Converter] = {"Convolution2DTransposeBias": transpose_conv_with_bias}
