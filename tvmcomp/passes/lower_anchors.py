"""Lower convolutions and matrix products with constant weights to TE over packed weights.

The weight is packed at build time into the order in which the target's schedule reads it
(:mod:`tvmcomp.schedules.compute`), so the artifact holds packed constants and nothing is repacked
at run time. A constant ``nn.pad`` before a convolution becomes the convolution's own padding.
Whatever has no constant weight is left to TVM's legalization and the default schedule.
"""

from __future__ import annotations

from typing import Any

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
from tvmcomp.schedules.dot import DotKernel, bfloat16_kernel, float_kernel, int8_kernel
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

relax = tvm.relax


def lower_anchors(mod: Any, target: TargetDescription) -> Any:
    """Lower every anchor of ``mod`` that has a constant weight, for ``target``."""
    return _LowerAnchors(mod, target).run()


class _LowerAnchors(BindingRewriter):
    def __init__(self, mod: Any, target: TargetDescription) -> None:
        super().__init__(mod)
        self.target = target

    def rewrite(self, var: Any, value: Any) -> Any:
        name = op_name(value)
        lowered = None
        if name in ("nn.conv1d", "nn.conv2d", "nn.conv3d"):
            lowered = self.convolution(self.substitute(value), var.name)
        elif name == "matmul":
            lowered = self.matmul(self.substitute(value), var.name)
        return lowered if lowered is not None else super().rewrite(var, value)

    def kernel(self, data: Any, weight: np.ndarray) -> DotKernel | None:
        """The dot product for these dtypes; None where there is none."""
        if weight.dtype == np.int8:
            kernel = int8_kernel(self.target)
        elif str(weight.dtype) == "bfloat16":
            found = bfloat16_kernel(self.target)
            if found is None:
                return None
            kernel = found
        else:
            kernel = float_kernel(self.target, str(weight.dtype))
        return kernel if kernel.data == dtype_of(data) else None

    def convolution(self, call: Any, name: str) -> Any | None:
        data, weight = call.args[0], const_value(call.args[1])
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
        kernel = self.kernel(data, weight)
        if kernel is None:
            return None
        return self.emit_conv(data, weight, window, kernel, name)

    def matmul(self, call: Any, name: str) -> Any | None:
        data, weight = call.args[0], const_value(call.args[1])
        if weight is None or weight.ndim != 2 or len(shape_of(data)) < 2:
            return None
        kernel = self.kernel(data, weight)
        if kernel is None:
            return None
        window = Window((1,), (1,), (1,), ((0, 0),))
        return self.emit_conv(data, weight.T[:, None, :], window, kernel, name)

    def emit_conv(
        self, data: Any, weight: np.ndarray, window: Window, kernel: DotKernel, name: str
    ) -> Any:
        channels = shape_of(data)[-1]
        out_channels = weight.shape[0]
        if window.groups == channels == out_channels > 1:
            packed = const(pack_depthwise_weight(weight))

            def depthwise(x: Any, w: Any) -> Any:
                return depthwise_conv(x, w, window, kernel.acc)

            return self.emit_te(depthwise, data, packed, name)
        packed = const(pack_conv_weight(weight, window.groups, kernel))

        def direct(x: Any, w: Any) -> Any:
            return direct_conv(x, w, window, out_channels, kernel, self.target)

        return self.emit_te(direct, data, packed, name)

    def emit_te(self, compute: Any, data: Any, packed: Any, name: str) -> Any:
        call = self.builder.call_te(compute, data, packed, primfunc_name_hint=name)
        return self.emit(call, name)

    def absorb_padding(
        self, data: Any, attrs: Any
    ) -> tuple[Any, tuple[tuple[int, int], ...], int]:
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
        if str(source.attrs.pad_mode) != "constant" or outer_padded or value != int(value):
            return data, own, 0
        return source.args[0], tuple(pairs[-rank - 1 : -1]), int(value)
