"""Windows that slide over an image: their geometry, and how it is padded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvmcomp.frontend.tflite.call import Call

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


def image(call: Call, rank: int = 4) -> tuple[int, ...]:
    """The sizes of input 0, which must have ``rank`` dimensions, channels last."""
    shape = call.shape(0)
    if len(shape) != rank:
        raise ValueError(f"its data has {len(shape)} dimensions, not {rank}")
    return shape
