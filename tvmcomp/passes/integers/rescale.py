"""From an anchor's int32 accumulator to real numbers: the first half of requantizing it.

    real[..., c] = float(acc[..., c] + bias[c]) * scale[c] * data_scale

A channel's bias and scale take two bytes each: small networks have so few weights a channel that
four bytes each would be a sixth of the artifact. The scale is a bfloat16 (weights are quantized
with scales that are); the bias is an int16 in steps of a few units of the accumulator, far below
what one step of the output is worth. Values that don't fit so are kept in 32 bits.

The bias of a model that came quantized is kept to the unit: the result is then the one that its
tool gives, but for what falls into the middle of two steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.passes.elementwise import ELEMENT_WISE_KERNEL
from tvmcomp.passes.rewriter import const
from tvmcomp.schedules.bfloat16 import widen
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr

#: Leaves room in an int32 for the products that are added to it.
LARGEST_BIAS = 2**30
#: The coarsest step of a 16-bit bias is ``2 ** _MAX_SHIFT`` units of the accumulator.
_MAX_SHIFT = 4


def rescale(
    builder: Builder,
    acc: Any,
    bias: np.ndarray,
    weight_sums: np.ndarray,
    scale: np.ndarray,
    data_scale: float,
    data_dtype: str,
    name: str,
    *,
    exact: bool,
) -> Expr:
    """A call that turns ``acc`` into float32.

    Args:
        builder: a Relax block builder.
        acc: int32 accumulators, channels last.
        bias: int64, one a channel, in units of the accumulator: the zero point's share and the
            layer's bias.
        weight_sums: int64, the sum of each channel's weights.
        scale, data_scale: see :func:`combined_scale`.
        data_dtype: type of the activation that was multiplied.
        name: of the kernel, for a person.
        exact: keep the bias to the unit.
    """
    te, tirx = tvm.te, tvm.tirx
    # The other 8-bit type's zero point is 128 away: steps chosen for both make every target round
    # the same.
    other = bias + (128 if data_dtype == "uint8" else -128) * weight_sums
    largest = int(max(np.abs(bias).max(), np.abs(other).max()))
    packed_scale = _pack_scale(scale)
    scale_dtype = str(packed_scale.dtype)
    coarse = scale_dtype == "uint16" and not exact
    packed_bias, shift = _pack_bias(bias, largest, _MAX_SHIFT if coarse else 0)

    def compute(x: Expr, b: Any, s: Any) -> Expr:
        def real(*i: Any) -> Any:
            channel = i[-1]
            offset = b[channel].astype("int32") << tirx.const(shift, "int32")
            factor = widen(s[channel], scale_dtype, "float32") * tirx.const(data_scale, "float32")
            return (x[i] + offset).astype("float32") * factor

        return te.compute(x.shape, real, name="rescale")

    return builder.call_te(
        compute,
        acc,
        const(packed_bias),
        const(packed_scale),
        primfunc_name_hint=f"{name}_rescale",
        primfunc_attrs={ELEMENT_WISE_KERNEL: True},
    )


def combined_scale(
    weight: np.ndarray, data: np.ndarray, output: np.ndarray | None
) -> tuple[np.ndarray, float]:
    """What the sums of an anchor are multiplied by: a number a channel, and one for all.

    Args:
        weight: its scale, one a channel; float32 like all of them.
        data: the activation's scale, one or one a channel.
        output: that of the result, where it is counted in its steps.
    """
    if data.ndim == 0 and _is_bfloat16(weight):  # half as many bytes as their products
        return weight, float(data if output is None else data / output)
    # In the order in which ONNX Runtime and XNNPACK round them.
    if output is not None:
        return weight * data / output, 1.0
    return (weight, float(data)) if data.ndim == 0 else (weight * data, 1.0)


def _pack_bias(bias: np.ndarray, largest: int, most: int) -> tuple[np.ndarray, int]:
    """The bias as int16 in steps of ``2 ** shift``, of at most ``2 ** most``, or as int32 in steps
    of one."""
    for shift in range(most + 1):
        if largest <= (2**15 - 1) << shift:
            return np.rint(bias / 2**shift).astype(np.int16), shift
    return bias.astype(np.int32), 0


def _pack_scale(scale: np.ndarray) -> np.ndarray:
    """The bits of bfloat16 where that is exact, else float32."""
    bits = np.ascontiguousarray(scale, np.float32).view(np.uint32)
    return (bits >> 16).astype(np.uint16) if _is_bfloat16(scale) else bits.view(np.float32)


def _is_bfloat16(scale: np.ndarray) -> bool:
    bits = np.ascontiguousarray(scale, np.float32).view(np.uint32)
    return not (bits & 0xFFFF).any()
