"""Lower convolutions and matrix products with constant weights to TE over packed weights.

The weight is packed at build time into the order in which the target's schedule reads it
(:mod:`tvmcomp.schedules.compute`), so the artifact holds packed constants and nothing is repacked
at run time. A constant ``nn.pad`` before a convolution becomes the convolution's own padding.
Whatever has no constant weight is left to TVM's legalization and the default schedule.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from tvmcomp.passes.rewriter import (
    BindingRewriter,
    const,
    const_value,
    dtype_of,
    op_name,
    shape_of,
)
from tvmcomp.schedules.compute import (
    Window,
    depthwise_conv,
    direct_conv,
    pack_conv_weight,
    pack_depthwise_weight,
)
from tvmcomp.schedules.dot import DotKernel, float_kernel, int8_kernel
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

relax = tvm.relax


def lower_anchors(mod: Any, target: TargetDescription, half: str | None = None) -> Any:
    """Lower every anchor of ``mod`` that has a constant weight, for ``target``.

    ``half`` is ``float16`` or ``bfloat16`` to store float32 weights so; None keeps them.
    """
    return _LowerAnchors(mod, target, half).run()


def anchor_kernel(
    data_dtype: str, weight: np.ndarray, target: TargetDescription
) -> DotKernel | None:
    """The dot product of ``target`` for these dtypes; None where there is none."""
    if weight.dtype == np.int8 and data_dtype != "float32":
        kernel = int8_kernel(target)
    else:
        kernel = float_kernel(target, str(weight.dtype))
    return kernel if kernel.data == data_dtype else None


def pack_anchor(call: Any, weight: np.ndarray, kernel: DotKernel) -> np.ndarray:
    """``weight``, as the anchor ``call`` has it, in the order its schedule reads."""
    if op_name(call) == "matmul":
        return pack_conv_weight(weight.T[:, None, :], 1, kernel)
    if _is_depthwise(call, weight):
        return pack_depthwise_weight(weight)
    return pack_conv_weight(weight, int(call.attrs.groups), kernel)


def _is_depthwise(call: Any, weight: np.ndarray) -> bool:
    channels = shape_of(call.args[0])[-1]
    return bool(int(call.attrs.groups) == channels == weight.shape[0] > 1)


class _LowerAnchors(BindingRewriter):
    def __init__(self, mod: Any, target: TargetDescription, half: str | None) -> None:
        super().__init__(mod)
        self.target = target
        self.half = half

    def rewrite(self, var: Any, value: Any) -> Any:
        name = op_name(value)
        lowered = None
        if name in ("nn.conv1d", "nn.conv2d", "nn.conv3d"):
            lowered = self.convolution(self.substitute(value), var.name)
        elif name == "matmul":
            lowered = self.matmul(self.substitute(value), var.name)
        return lowered if lowered is not None else super().rewrite(var, value)

    def weight(self, call: Any) -> np.ndarray | None:
        """The anchor's constant weight, in half precision where that is asked for."""
        weight = const_value(call.args[1])
        if weight is None or weight.dtype != np.float32 or self.half is None:
            return weight
        if self.half == "bfloat16":
            return weight.astype(ml_dtypes.bfloat16).view(np.uint16)
        # Beyond float16's range a weight would become infinite.
        largest = np.finfo(np.float16).max
        return np.clip(weight, -largest, largest).astype(np.float16)

    def convolution(self, call: Any, name: str) -> Any | None:
        data, weight = call.args[0], self.weight(call)
        if weight is None or not str(call.attrs.data_layout).endswith("C"):
            return None
        data, padding, pad_value = self.absorb_padding(data, call.attrs)
        window = Window(
            kernel=weight.shape[1:-1],
            strides=tuple(int(s) for s in call.attrs.strides),
            dilation=tuple(int(d) for d in call.attrs.dilation),
            padding=padding,
            groups=int(call.attrs.groups),
            pad_value=pad_value,
        )
        kernel = anchor_kernel(dtype_of(data), weight, self.target)
        if kernel is None:
            return None
        return self.emit_anchor(call, data, window, kernel, name)

    def matmul(self, call: Any, name: str) -> Any | None:
        data, weight = call.args[0], self.weight(call)
        if weight is None or weight.ndim != 2 or len(shape_of(data)) < 2:
            return None
        kernel = anchor_kernel(dtype_of(data), weight, self.target)
        if kernel is None:
            return None
        window = Window((1,), (1,), (1,), ((0, 0),))
        return self.emit_anchor(call, data, window, kernel, name)

    def emit_anchor(
        self, call: Any, data: Any, window: Window, kernel: DotKernel, name: str
    ) -> Any | None:
        rank = len(window.kernel)
        if 0 in (*shape_of(data), *window.output(shape_of(data)[-rank - 1 : -1])):
            return None  # There is nothing to compute, and no loop to schedule.
        weight = self.weight(call)
        assert weight is not None
        packed = const(pack_anchor(call, weight, kernel))
        depthwise = op_name(call) != "matmul" and _is_depthwise(call, weight)
        out_channels = weight.shape[1] if op_name(call) == "matmul" else weight.shape[0]

        def compute(x: Any, w: Any) -> Any:
            if depthwise:
                return depthwise_conv(x, w, window, kernel)
            return direct_conv(x, w, window, out_channels, kernel, self.target)

        lowered = self.builder.call_te(compute, data, packed, primfunc_name_hint=name)
        return self.emit(lowered, name)

    def absorb_padding(self, data: Any, attrs: Any) -> tuple[Any, tuple[tuple[int, int], ...], int]:
        """The convolution's own padding, joined with an ``nn.pad`` right before it.

        Returns:
            The unpadded data, the padding (before, after) a spatial dimension, and its value.
        """
        flat = [int(p) for p in attrs.padding]
        rank = len(flat) // 2
        own = tuple((flat[d], flat[d + rank]) for d in range(rank))
        source = self.builder.lookup_binding(data) if isinstance(data, relax.Var) else None
        if source is None or op_name(source) != "nn.pad" or any(b or a for b, a in own):
            return data, own, 0
        width = [int(p) for p in source.attrs.pad_width]
        pairs = list(zip(width[::2], width[1::2], strict=True))
        value = source.attrs.pad_value if hasattr(source.attrs, "pad_value") else source.args[1]
        value = float(getattr(value, "value", value))
        outer_padded = any(b or a for b, a in (*pairs[: -rank - 1], pairs[-1]))
        if str(source.attrs.pad_mode) != "constant" or outer_padded or not value.is_integer():
            return data, own, 0
        return source.args[0], tuple(pairs[-rank - 1 : -1]), int(value)
