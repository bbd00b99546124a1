"""A convolution again, on integers: with sums of another type, and padding that stands for 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tvmcomp.passes.rewriter import const, op_name
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Attributes, Call, Expr

relax = tvm.relax
Emit = Callable[[Any, str], Any]


def convolve(
    call: Call, data: Any, weight: np.ndarray, padding: list[int], out_dtype: str = "int32"
) -> Expr:
    """The convolution ``call`` with other operands, padding and type of the result."""
    attrs = call.attrs
    convolution = getattr(relax.op.nn, (op_name(call) or "").removeprefix("nn."))
    return convolution(
        data,
        const(weight),
        strides=attrs.strides,
        padding=padding,
        dilation=attrs.dilation,
        groups=attrs.groups,
        data_layout=attrs.data_layout,
        kernel_layout=attrs.kernel_layout,
        out_layout=attrs.out_layout,
        out_dtype=out_dtype,
    )


def padded(
    emit: Emit, integers: Any, attrs: Attributes, zero_point: int, name: str
) -> tuple[Any, list[int]]:
    """Padding with the zero point, which stands for 0; lowering joins it to the kernel.

    Returns:
        The data, and the padding that the convolution itself still has.
    """
    flat = [int(p) for p in attrs.padding]
    if not zero_point or not any(flat):
        return integers, flat
    rank = len(flat) // 2
    width = [0, 0]
    for d in range(rank):
        width += [flat[d], flat[d + rank]]
    border = relax.op.nn.pad(integers, [*width, 0, 0], pad_value=zero_point)
    return emit(border, f"{name}_pad"), [0] * len(flat)
