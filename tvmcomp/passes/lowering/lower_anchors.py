"""Lower convolutions and matrix products with constant weights to TE over packed weights.

The weight is packed at build time into the order in which the target's schedule reads it
(:mod:`tvmcomp.schedules.conv`), so the artifact holds packed constants and nothing is
repacked at run time; a weight that is computed is packed then, by a kernel of its own
(:mod:`tvmcomp.passes.lowering.given_weights`). A constant ``nn.pad`` before a convolution becomes
the convolution's own padding.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from tvmcomp.passes.lowering.anchor_forms import choose_form, pack_untransformed
from tvmcomp.passes.lowering.given_weights import given_convolution, given_matrix
from tvmcomp.passes.lowering.half import narrowed
from tvmcomp.passes.lowering.sparse_form import SparseForms
from tvmcomp.passes.lowering.store_bfloat16 import rounded
from tvmcomp.passes.operator_kinds import ANCHORS
from tvmcomp.passes.rewriter import (
    BindingRewriter,
    const,
    const_value,
    dtype_of,
    op_name,
    shape_of,
)
from tvmcomp.schedules.anchor import Anchor, Widths, Window
from tvmcomp.schedules.bfloat16 import BITS, bfloat16_bits, has_bfloat16
from tvmcomp.schedules.conv.padding import FREE_BEHIND, PAD_VALUE, PADDING, pad
from tvmcomp.schedules.conv.winograd import transformed_bytes, winograd_tile
from tvmcomp.schedules.dot import MULTIPLIED, dot_kernel, float_kernel, int8_kernel
from tvmcomp.schedules.matmul.packed_matmul import pack_matrices
from tvmcomp.schedules.op_pattern import OpPattern
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Attributes, Call, Expr, Module, Var

relax = tvm.relax
#: The window of a matrix product.
_SINGLE = Window((1,), (1,), (1,), ((0, 0),))


def lower_anchors(
    mod: Module,
    target: TargetDescription,
    half: str | None = None,
    winograd: bool = True,
    sparse: SparseForms | None = None,
) -> Module:
    """Lower every anchor of ``mod`` that has a constant weight, for ``target``.

    Args:
        mod: the module.
        target: the device.
        half: ``float16`` or ``bfloat16`` to store float32 weights so; None keeps them.
        winograd: transform weights where that is faster; without, they are only packed.
        sparse: gives kernels that skip a weight's zeros; None: all are dense.
    """
    return _LowerAnchors(mod, target, half, winograd, sparse).run()


def as_anchor(call: Call, weight: np.ndarray) -> tuple[Anchor, np.ndarray]:
    """The anchor ``call`` as it stands, and its ``weight`` as ``[O, *kernel, C/groups]``."""
    window = _SINGLE
    if op_name(call) == "matmul":
        weight = weight.T[:, None, :]
    else:
        window = _window(call.attrs, weight.shape)
    return Anchor(shape_of(call.args[0]), window, weight.shape[0]), weight


def packed_weight(call: Call, weight: np.ndarray, target: TargetDescription) -> np.ndarray:
    """What :func:`lower_anchors` makes of the float ``weight`` of ``call`` where it only packs."""
    if not _is_supported(call, weight):
        return weight  # It stays an operand.
    anchor, weight = as_anchor(call, weight)
    kernel = dot_kernel(dtype_of(call.args[0]), str(weight.dtype), target)
    assert kernel is not None
    return pack_untransformed(_each_channel_apart(anchor), weight, kernel, target)


def _each_channel_apart(anchor: Anchor) -> Anchor:
    """A depthwise convolution of several results a channel, over data that has each that often."""
    groups, (*outer, channels) = anchor.window.groups, anchor.shape
    times, rest = divmod(anchor.out_channels, channels)
    if groups != channels or groups == 1 or times == 1 or rest:
        return anchor
    window = replace(anchor.window, groups=channels * times)
    return replace(anchor, shape=(*outer, channels * times), window=window)


def _window(attrs: Attributes, weight: tuple[int, ...]) -> Window:
    flat = [int(p) for p in attrs.padding]
    rank = len(flat) // 2
    return Window(
        kernel=weight[1:-1],
        strides=tuple(int(s) for s in attrs.strides),
        dilation=tuple(int(d) for d in attrs.dilation),
        padding=tuple((flat[d], flat[d + rank]) for d in range(rank)),
        groups=int(attrs.groups),
    )


class _LowerAnchors(BindingRewriter):
    def __init__(
        self,
        mod: Module,
        target: TargetDescription,
        half: str | None,
        winograd: bool,
        sparse: SparseForms | None,
    ) -> None:
        super().__init__(mod)
        self.sparse = sparse
        self.winograd_allowed = winograd
        self.target = target
        self.half = half
        self.has_bfloat16 = has_bfloat16(target)
        self.known_padded: dict[Var, Expr] = {}
        self.known_rounded: dict[Var, Expr] = {}

    def rewrite(self, var: Var, value: Expr) -> Expr:
        lowered = None
        if op_name(value) in ANCHORS:
            lowered = self.anchor(self.substitute(value), var.name)
        return lowered if lowered is not None else super().rewrite(var, value)

    def anchor(self, call: Call, name: str) -> Expr | None:
        data, weight = call.args[0], const_value(call.args[1])
        if weight is None or (op_name(call) == "matmul" and weight.ndim > 2):
            return self.given(call, name)
        if not _is_supported(call, weight):
            return None
        anchor, weight = as_anchor(call, weight)
        if op_name(call) != "matmul":
            data, window = self.absorb_padding(data, anchor.window)
            anchor = replace(anchor, shape=shape_of(data), window=window)
        if 0 in (*anchor.shape, *anchor.output):
            return None  # There is nothing to compute, and no loop to schedule.
        data, anchor = self.each_channel_apart(data, anchor, name)
        weight = self.stored(anchor, weight)
        if self.half is None and self.is_best_transformed(dtype_of(data), anchor, weight):
            weight = weight.astype(np.float32)
        dtypes = self.multiplied(dtype_of(data)), str(weight.dtype)
        kernel = dot_kernel(*dtypes, self.target)
        if kernel is not None and kernel.pixels > anchor.output[-1]:
            kernel = dot_kernel(*dtypes, self.target, anchor.output[-1])
        if kernel is None:
            return None
        form = choose_form(anchor, weight, kernel, self.target, winograd=self.winograd_allowed)
        if self.sparse is not None:
            form = self.sparse.faster(anchor, weight, kernel, form, name) or form
        pad_value = anchor.window.pad_value
        if kernel.data == BITS:
            data, pad_value = self.rounded(data, name), bfloat16_bits(pad_value)
        padded = self.padded(data, form.widths, pad_value, name, form.free_behind)
        return self.emit(form.emit(self.builder, padded, const(form.weight), name), name)

    def each_channel_apart(self, data: Expr, anchor: Anchor, name: str) -> tuple[Any, Anchor]:
        """A depthwise convolution of several results a channel as one of a result a channel: each
        channel is there several times. Its vectors then are whole, and nothing is regrouped.
        """
        apart = _each_channel_apart(anchor)
        if apart is anchor:
            return data, anchor
        *outer, channels = anchor.shape
        once = self.emit(relax.op.reshape(data, [*outer, channels, 1]), f"{name}_once")
        wide = [*outer, channels, apart.channels // channels]
        repeated = self.emit(relax.op.broadcast_to(once, wide), f"{name}_repeated")
        return self.emit(relax.op.reshape(repeated, list(apart.shape)), f"{name}_repeats"), apart

    def given(self, call: Call, name: str) -> Expr | None:
        """Lower ``call``, whose weight comes at run time: a kernel of its own packs it."""
        data, weight = call.args[:2]
        dtypes = dtype_of(data), dtype_of(weight)
        kernel = dot_kernel(*dtypes, self.target)
        if kernel is None or 0 in (*shape_of(data), *shape_of(weight)):
            return None
        window = _SINGLE
        if op_name(call) == "matmul":
            if min(len(shape_of(data)), len(shape_of(weight))) < 2:
                return None
            if kernel.pixels > shape_of(data)[-2]:
                kernel = int8_kernel(self.target, 1)
            form = given_matrix(shape_of(data), shape_of(weight), kernel, self.target)
        elif not str(call.attrs.data_layout).endswith("C"):
            return None
        else:
            window = _window(call.attrs, shape_of(weight))
            data, window = self.absorb_padding(data, window)
            anchor = Anchor(shape_of(data), window, shape_of(weight)[0])
            if 0 in anchor.output:
                return None
            if kernel.pixels > anchor.output[-1]:
                kernel = int8_kernel(self.target, 1)
            form = given_convolution(anchor, kernel, self.target)
        if form is None:
            return None
        padded = self.padded(data, form.widths, window.pad_value, name)
        known = const_value(weight)
        if known is not None:
            packed = const(pack_matrices(known, kernel))
        else:
            packed = self.emit(form.pack(self.builder, weight, f"{name}_pack"), f"{name}_packed")
        return self.emit(form.emit(self.builder, padded, packed, name), name)

    def stored(self, anchor: Anchor, weight: np.ndarray) -> np.ndarray:
        """The anchor's weight, in half precision where that is asked for."""
        if weight.dtype != np.float32 or self.half is None:
            return weight
        if self.half == "bfloat16":
            if anchor.depthwise and self.has_bfloat16:
                return weight  # It is multiplied in float32.
            return weight.astype(ml_dtypes.bfloat16).view(np.uint16)
        return narrowed(weight, "float16")

    def is_best_transformed(self, data: str, anchor: Anchor, weight: np.ndarray) -> bool:
        """Whether Winograd's method is faster than to multiply float data by the narrow ``weight``
        that an operator kept in float was stored with.

        Only where the transformed weight stays in a core's cache: a larger one takes time to read,
        and would be most of the artifact.
        """
        if not self.winograd_allowed or data != "float32" or weight.dtype == np.float32:
            return False
        tile = winograd_tile(anchor, float_kernel(self.target), self.target)
        return tile is not None and transformed_bytes(tile, anchor) <= self.target.l2_kib << 10

    def multiplied(self, dtype: str) -> str:
        """What data of ``dtype`` are multiplied as: in bfloat16 where asked for and possible."""
        in_bfloat16 = self.half == "bfloat16" and self.has_bfloat16 and dtype == "float32"
        return BITS if in_bfloat16 else dtype

    def rounded(self, data: Expr, name: str) -> Expr:
        """``data`` in bfloat16, for all who need it so."""
        if data not in self.known_rounded:
            call = rounded(self.builder, data, f"{name}_rounded")
            self.known_rounded[data] = self.emit(call, f"{name}_rounded")
        return self.known_rounded[data]

    def padded(
        self, data: Expr, widths: Widths, value: int, name: str, free_behind: bool = False
    ) -> Expr:
        """``data`` with a border: a kernel of its own, one for all who need the same."""
        if not any(before or after for before, after in widths):
            return data
        key = (data, widths, value, free_behind)
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
                    FREE_BEHIND: free_behind,
                    # TVM takes a border behind the data only for element-wise.
                    "op_pattern": int(OpPattern.INJECTIVE),
                },
            )
            self.known_padded[key] = self.emit(call, f"{name}_padded")
        return self.known_padded[key]

    def absorb_padding(self, data: Expr, window: Window) -> tuple[Any, Window]:
        """Join the convolution's own padding with an ``nn.pad`` right before it.

        Returns:
            The data without the padding, and the window with it.
        """
        source = self.builder.lookup_binding(data) if isinstance(data, relax.Var) else None
        if source is None or op_name(source) != "nn.pad" or any(map(any, window.padding)):
            return data, window
        width = [int(p) for p in source.attrs.pad_width]
        pairs = list(zip(width[::2], width[1::2], strict=True))
        value = source.attrs.pad_value if hasattr(source.attrs, "pad_value") else source.args[1]
        value = float(getattr(value, "value", value))
        first = -1 - len(window.kernel)
        outer_padded = any(map(any, (*pairs[:first], pairs[-1])))
        if str(source.attrs.pad_mode) != "constant" or outer_padded or not value.is_integer():
            return data, window
        return source.args[0], replace(window, padding=tuple(pairs[first:-1]), pad_value=int(value))


def _is_supported(call: Call, weight: np.ndarray) -> bool:
    if op_name(call) == "matmul":
        # A matrix times a vector is a reduction: a vector of columns would be waste but for one.
        matrix = weight.ndim == 2 and (weight.shape[1] > 1 or str(weight.dtype) not in MULTIPLIED)
        return matrix and len(shape_of(call.args[0])) >= 2
    return str(call.attrs.data_layout).endswith("C")
