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
from tvmcomp.passes.store_bfloat16 import rounded
from tvmcomp.schedules.bfloat16 import BITS, bfloat16_bits, has_bfloat16
from tvmcomp.schedules.compute import (
    PAD_VALUE,
    PADDING,
    Widths,
    Window,
    conv_padding,
    depthwise_conv,
    depthwise_padding,
    direct_conv,
    pack_conv_weight,
    pack_depthwise_weight,
    pad,
)
from tvmcomp.schedules.depthwise_dot import (
    RowGroups,
    depthwise_dot_conv,
    depthwise_dot_padding,
    pack_depthwise_dot_weight,
    row_groups,
)
from tvmcomp.schedules.dot import DotKernel, bfloat16_kernel, float_kernel, int8_kernel
from tvmcomp.schedules.winograd import (
    Tile,
    pack_winograd_weight,
    winograd_conv,
    winograd_padding,
    winograd_tile,
)
from tvmcomp.schedules.x86.amx_choose import plan_amx
from tvmcomp.schedules.x86.amx_conv import amx_conv
from tvmcomp.schedules.x86.amx_pack import pack_amx_weight
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

relax = tvm.relax
_INJECTIVE = 2  # TVM's OpPatternKind::kInjective
_OUT_FUSABLE = 4  # TVM's OpPatternKind::kOutEWiseFusable: element-wise operators fuse behind it


def lower_anchors(
    mod: Any, target: TargetDescription, half: str | None = None, winograd: bool = True
) -> Any:
    """Lower every anchor of ``mod`` that has a constant weight, for ``target``.

    Args:
        mod: the module.
        target: the device.
        half: ``float16`` or ``bfloat16`` to store float32 weights so; None keeps them.
        winograd: transform weights where that is faster; without, they are only packed.
    """
    return _LowerAnchors(mod, target, half, winograd).run()


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
    def __init__(
        self, mod: Any, target: TargetDescription, half: str | None, winograd: bool
    ) -> None:
        super().__init__(mod)
        self.winograd_allowed = winograd
        self.target = target
        self.half = half
        self.has_bfloat16 = has_bfloat16(target)
        self.known_padded: dict[Any, Any] = {}
        self.known_rounded: dict[Any, Any] = {}

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
            if op_name(call) != "matmul" and _is_depthwise(call, weight) and self.has_bfloat16:
                return weight  # It is multiplied in float32.
            return weight.astype(ml_dtypes.bfloat16).view(np.uint16)
        # Beyond float16's range a weight would become infinite.
        largest = np.finfo(np.float16).max
        return np.clip(weight, -largest, largest).astype(np.float16)

    def kernel(self, call: Any, data: Any, weight: np.ndarray) -> DotKernel | None:
        """The dot product for ``call``: of bfloat16 where that is asked for and the target can."""
        if self.half == "bfloat16" and self.has_bfloat16 and dtype_of(data) == "float32":
            return bfloat16_kernel(self.target, depthwise=weight.dtype != BITS)
        return anchor_kernel(dtype_of(data), weight, self.target)

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
        kernel = self.kernel(call, data, weight)
        if kernel is None:
            return None
        return self.emit_anchor(call, data, window, kernel, name)

    def matmul(self, call: Any, name: str) -> Any | None:
        data, weight = call.args[0], self.weight(call)
        if weight is None or weight.ndim != 2 or len(shape_of(data)) < 2:
            return None
        kernel = self.kernel(call, data, weight)
        if kernel is None:
            return None
        window = Window((1,), (1,), (1,), ((0, 0),))
        return self.emit_anchor(call, data, window, kernel, name)

    def emit_anchor(
        self, call: Any, data: Any, window: Window, kernel: DotKernel, name: str
    ) -> Any | None:
        rank = len(window.kernel)
        output = window.output(shape_of(data)[-rank - 1 : -1])
        if 0 in (*shape_of(data), *output):
            return None  # There is nothing to compute, and no loop to schedule.
        if kernel.pixels > output[-1]:
            kernel = int8_kernel(self.target, output[-1])
        weight = self.weight(call)
        assert weight is not None
        depthwise = op_name(call) != "matmul" and _is_depthwise(call, weight)
        out_channels = weight.shape[1] if op_name(call) == "matmul" else weight.shape[0]
        shape = shape_of(data)
        if self.winograd_allowed and op_name(call) == "nn.conv2d":
            tile = winograd_tile(shape, window, out_channels, kernel, self.target)
            if tile is not None:
                return self.winograd(tile, data, weight, window, name)
        rows = row_groups(shape, window, kernel.data, self.target) if depthwise else None
        if rows is not None:
            return self.depthwise_dot(rows, data, weight, window, name)
        tiles = None if depthwise else plan_amx(shape, out_channels, window, kernel, self.target)
        if tiles is not None:
            widths = tiles.widths
        elif depthwise:
            widths = depthwise_padding(shape, window)
        else:
            widths = conv_padding(shape, window, out_channels, kernel, self.target)

        def compute(x: Any, w: Any) -> Any:
            if depthwise:
                return depthwise_conv(x, w, shape, window, kernel)
            return direct_conv(x, w, shape, window, out_channels, kernel, self.target)

        pad_value = window.pad_value
        if kernel.data == BITS:
            data, pad_value = self.rounded(data, name), bfloat16_bits(pad_value)
        padded = self.padded(data, widths, pad_value, name)
        if tiles is not None:
            by_channel = weight.T[:, None, :] if op_name(call) == "matmul" else weight
            packed = const(pack_amx_weight(by_channel, tiles))
            function = self.builder.add_func(amx_conv(tiles), name)
            result = relax.TensorType((*tiles.lead, *tiles.output, out_channels), kernel.acc)
            return self.emit(relax.call_tir(function, [padded, packed], result), name)
        packed = const(pack_anchor(call, weight, kernel))
        lowered = self.builder.call_te(compute, padded, packed, primfunc_name_hint=name)
        return self.emit(lowered, name)

    def winograd(self, tile: Tile, data: Any, weight: np.ndarray, window: Window, name: str) -> Any:
        shape, out_channels = shape_of(data), weight.shape[0]
        widths = winograd_padding(tile, shape, window, out_channels, self.target)
        call = self.builder.call_te(
            lambda x, w: winograd_conv(tile, x, w, shape, window, out_channels, self.target),
            self.padded(data, widths, window.pad_value, name),
            const(pack_winograd_weight(tile, weight, self.target)),
            primfunc_name_hint=name,
            primfunc_attrs={"op_pattern": _OUT_FUSABLE},
        )
        return self.emit(call, name)

    def depthwise_dot(
        self, rows: RowGroups, data: Any, weight: np.ndarray, window: Window, name: str
    ) -> Any:
        shape = shape_of(data)
        widths = depthwise_dot_padding(shape, window, rows)
        call = self.builder.call_te(
            lambda x, w: depthwise_dot_conv(x, w, shape, window, rows),
            self.padded(data, widths, window.pad_value, name),
            const(pack_depthwise_dot_weight(weight, rows)),
            primfunc_name_hint=name,
        )
        return self.emit(call, name)

    def rounded(self, data: Any, name: str) -> Any:
        """``data`` in bfloat16, for all who need it so."""
        if data not in self.known_rounded:
            call = rounded(self.builder, data, f"{name}_rounded")
            self.known_rounded[data] = self.emit(call, f"{name}_rounded")
        return self.known_rounded[data]

    def padded(self, data: Any, widths: Widths, value: int, name: str) -> Any:
        """``data`` with a border: a kernel of its own, one for all who need the same."""
        if not any(before or after for before, after in widths):
            return data
        key = (data, widths, value)
        if key not in self.known_padded:
            call = self.builder.call_te(
                pad,
                data,
                widths,
                value,
                primfunc_name_hint=f"{name}_pad",
                primfunc_attrs={
                    PADDING: [width for pair in widths for width in pair],
                    PAD_VALUE: value,
                    # TVM takes a border behind the data only for element-wise.
                    "op_pattern": _INJECTIVE,
                },
            )
            self.known_padded[key] = self.emit(call, f"{name}_padded")
        return self.known_padded[key]

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
