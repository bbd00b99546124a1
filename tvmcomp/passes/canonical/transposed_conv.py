"""A transposed convolution as an ordinary one: the sub-pixel form of Shi et al., "Is the
deconvolution layer the same as a convolutional layer?" (arXiv:1609.07009).

With stride ``s``, output pixel ``s * q + r`` reads input pixels ``q - j`` through the taps
``s * j + r`` of the kernel. So the ``s`` phases ``r`` are ``s`` times as many channels of one
convolution, with ``ceil(k / s)`` taps and stride 1; its channels are then moved into space. No
product with a stuffed zero is computed, and it runs on the convolution's kernels, in integers too.

- Groups stay groups. Where each channel is a group the data is repeated, once a phase, so that the
  convolution is a depthwise one.
- With stride 1 a dilation is the convolution's own. What stride and dilation have in common only
  spreads the result, with zeros between; what is left of both makes the kernel larger, with zeros
  between its taps.
- A weight that comes at run time is put in order then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tvmcomp.passes.rewriter import const, const_value, dtype_of, op_name, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Attributes, Expr

relax = tvm.relax
_LAYOUTS = {1: ("NWC", "OWI"), 2: ("NHWC", "OHWI"), 3: ("NDHWC", "ODHWI")}

#: Binds an expression to a name.
Emit = Callable[[Any, str], Any]


def applies(attrs: Attributes) -> bool:
    """Whether a transposed convolution with ``attrs`` is in the layout of ONNX."""
    return str(attrs.kernel_layout).startswith("IO") and str(attrs.data_layout).startswith("NC")


@dataclass(frozen=True)
class _Geometry:
    """Numbers for each spatial dimension.

    Attributes:
        strides: of the transposed convolution.
        spread: distance of neighbouring results; between them there are zeros.
        phases: strides without ``spread``: what is computed side by side.
        dilation: of the ordinary convolution.
        stuffed: distance of neighbouring taps in the kernel, made larger with zeros.
    """

    strides: tuple[int, ...]
    spread: tuple[int, ...]
    phases: tuple[int, ...]
    dilation: tuple[int, ...]
    stuffed: tuple[int, ...]

    @staticmethod
    def of(kernel: Sequence[int], strides: Sequence[int], dilation: Sequence[int]) -> _Geometry:
        """The geometry of a transposed convolution."""
        # A single tap has no distance from another: it may as well be the stride.
        apart = [d if k > 1 else s for k, s, d in zip(kernel, strides, dilation, strict=True)]
        spread = [math.gcd(s, d) for s, d in zip(strides, apart, strict=True)]
        phases = [s // common for s, common in zip(strides, spread, strict=True)]
        left = [d // common for d, common in zip(apart, spread, strict=True)]
        return _Geometry(
            tuple(strides),
            tuple(spread),
            tuple(phases),
            tuple(d if p == 1 else 1 for d, p in zip(left, phases, strict=True)),
            tuple(1 if p == 1 else d for d, p in zip(left, phases, strict=True)),
        )


def subpixel(
    emit: Emit,
    data: Expr,
    weight: Expr,
    attrs: Attributes,
    extents: tuple[int, ...],
    name: str,
    stored: Expr | None = None,
) -> Expr:
    """Emit the sub-pixel form.

    Args:
        emit: binds an expression to a name.
        data: channels last, ``[N, *spatial, I]``.
        weight: ``[I, O/groups, *kernel]``, a constant or not.
        attrs: of the transposed convolution; :func:`applies` must hold.
        extents: the spatial extents of the output.
        name: of the result.
        stored: what ``weight`` is bound to; integers of a quantized model stay integers.

    Returns:
        The output, ``[N, *extents, O]``.
    """
    dims = len(extents)
    groups = int(attrs.groups)
    in_channels, group_out, *kernel = shape_of(weight)
    geometry = _Geometry.of(
        kernel, [int(s) for s in attrs.strides], [int(d) for d in attrs.dilation]
    )
    depthwise = groups == in_channels and group_out == 1 and groups > 1
    packed = _packed_integers(emit, stored, geometry, groups, depthwise, name)
    if packed is None:
        packed = _packed(emit, weight, geometry, groups, depthwise, name)
    taps = shape_of(packed)[1:-1]
    spatial = shape_of(data)[1:-1]
    begins = [int(p) for p in attrs.padding][:dims]
    strides, reach = geometry.strides, [
        (tap - 1) * dilation for tap, dilation in zip(taps, geometry.dilation, strict=True)
    ]  # fmt: skip
    # Padding that the output would only be cut by is never computed, a tap at a time.
    first = [begin // stride for begin, stride in zip(begins, strides, strict=True)]
    needed = [
        -(-(begin + extent) // stride)
        for begin, extent, stride in zip(begins, extents, strides, strict=True)
    ]
    before = [far - skip for far, skip in zip(reach, first, strict=True)]
    after = [need - size for need, size in zip(needed, spatial, strict=True)]
    if min(*before, *after) < 0:
        # More is cut than the padding adds: let the convolution compute it all, and cut then.
        first, before = [0] * dims, reach
        after = [max(extra, 0) for extra in after]
    phases = math.prod(geometry.phases)
    if depthwise and phases > 1:
        groups *= phases
        data = _repeated(emit, data, phases, name)
    data_layout, kernel_layout = _LAYOUTS[dims]
    conv = emit(
        getattr(relax.op.nn, f"conv{dims}d")(
            data,
            packed,
            padding=[*before, *after],
            dilation=list(geometry.dilation),
            groups=groups,
            data_layout=data_layout,
            kernel_layout=kernel_layout,
        ),
        name,
    )
    blocks = 1 if depthwise else groups
    whole = _woven(emit, conv, geometry, blocks, name)
    full = shape_of(whole)[1:-1]
    starts = [b - f * s for b, f, s in zip(begins, first, strides, strict=True)]
    ends = [start + extent for start, extent in zip(starts, extents, strict=True)]
    if starts == [0] * dims and ends == list(full):
        return whole
    axes = list(range(1, dims + 1))
    return emit(relax.op.strided_slice(whole, axes, starts, ends), f"{name}_cut")


def _repeated(emit: Emit, data: Expr, times: int, name: str) -> Expr:
    """``[N, *S, C]`` as ``[N, *S, times * C]``."""
    *outer, channels = shape_of(data)
    apart = emit(relax.op.reshape(data, [*outer, 1, channels]), f"{name}_once")
    wide = emit(relax.op.broadcast_to(apart, [*outer, times, channels]), f"{name}_repeated")
    return emit(relax.op.reshape(wide, [*outer, times * channels]), f"{name}_repeats")


def _woven(emit: Emit, conv: Any, geometry: _Geometry, blocks: int, name: str) -> Expr:
    """``[N, *rows, blocks, *phases, c]`` as ``[N, *rows * strides, blocks * c]``."""
    batch, *rows, channels = shape_of(conv)
    dims, phases = len(rows), geometry.phases
    inner = channels // (blocks * math.prod(phases))
    if math.prod(phases) > 1:
        split = [batch, *rows, blocks, *phases, inner]
        apart = emit(relax.op.reshape(conv, split), f"{name}_phases")
        order = [0]
        for d in range(dims):
            order += [1 + d, 2 + dims + d]
        order += [1 + dims, 2 + 2 * dims]
        conv = emit(relax.op.permute_dims(apart, order), f"{name}_woven")
    rows = [row * phase for row, phase in zip(rows, phases, strict=True)]
    if math.prod(geometry.spread) > 1:
        shape, widths = [batch], [0, 0]
        for row, spread in zip(rows, geometry.spread, strict=True):
            shape += [row, 1]
            widths += [0, 0, 0, spread - 1]
        apart = emit(relax.op.reshape(conv, [*shape, blocks * inner]), f"{name}_close")
        conv = emit(relax.op.nn.pad(apart, [*widths, 0, 0]), f"{name}_spread")
        rows = [row * spread for row, spread in zip(rows, geometry.spread, strict=True)]
    return emit(relax.op.reshape(conv, [batch, *rows, blocks * inner]), f"{name}_whole")


def _packed(
    emit: Emit, weight: Expr, geometry: _Geometry, groups: int, depthwise: bool, name: str
) -> Expr:
    """The weight of the ordinary convolution."""
    value = const_value(weight)
    if value is not None:
        return const(_phases(value, geometry, groups, depthwise))
    # Where each element comes from, found by packing their numbers; the 0th is a zero.
    shape = shape_of(weight)
    numbers = np.arange(1, math.prod(shape) + 1).reshape(shape)
    places = _phases(numbers, geometry, groups, depthwise)
    flat = emit(relax.op.reshape(weight, [-1]), f"{name}_flat")
    zero = const(np.zeros(1, dtype_of(weight)))
    known = emit(relax.op.concat([zero, flat], axis=0), f"{name}_elements")
    taken = emit(
        relax.op.take(known, const(places.reshape(-1).astype("int64")), 0, mode="clip"),
        f"{name}_taken",
    )
    return emit(relax.op.reshape(taken, places.shape), f"{name}_weight")


def _packed_integers(
    emit: Emit, stored: Expr | None, geometry: _Geometry, groups: int, depthwise: bool, name: str
) -> Expr | None:
    """The weight of the ordinary convolution as a ``dequantize`` of integers, where that of the
    transposed one is such, with the zero point 0 and one scale or one an output channel."""
    if stored is None or op_name(stored) != "dequantize":
        return None
    values, scale, zero = (const_value(argument) for argument in stored.args[:3])
    if values is None or scale is None or zero is None or zero.any():
        return None
    packed = const(_phases(values, geometry, groups, depthwise))
    if scale.size == 1:
        return emit(relax.op.dequantize(packed, *stored.args[1:3], -1), f"{name}_weight")
    if int(stored.attrs.axis) % values.ndim != 1:
        return None
    # Which channel each one of the packed weight is of; one of nothing but zeros may be any.
    numbers = np.arange(1, scale.size + 1).reshape(1, -1, *[1] * (values.ndim - 2))
    places = _phases(np.broadcast_to(numbers, values.shape), geometry, groups, depthwise)
    channels = np.maximum(places.reshape(len(places), -1).max(axis=1) - 1, 0)
    scales, zeros = const(scale[channels]), const(np.zeros(len(channels), zero.dtype))
    return emit(relax.op.dequantize(packed, scales, zeros, 0), f"{name}_weight")


def _phases(weight: np.ndarray, geometry: _Geometry, groups: int, depthwise: bool) -> np.ndarray:
    """``[I, O/g, *k]`` as ``[g * s0 * s1 * … * O/g, *taps, I/g]``, taps reversed as a convolution
    reads; ``[s0 * s1 * … * C, *taps, 1]`` of a depthwise one."""
    dims = weight.ndim - 2
    stuffed = np.zeros(
        (
            *weight.shape[:2],
            *((k - 1) * d + 1 for k, d in zip(weight.shape[2:], geometry.stuffed, strict=True)),
        ),
        weight.dtype,
    )
    taken = (slice(None), slice(None), *(slice(None, None, d) for d in geometry.stuffed))
    stuffed[taken] = weight
    kernel, phases = stuffed.shape[2:], geometry.phases
    taps = [-(-k // s) for k, s in zip(kernel, phases, strict=True)]
    fill = [(0, t * s - k) for t, s, k in zip(taps, phases, kernel, strict=True)]
    padded = np.pad(stuffed, [(0, 0), (0, 0), *fill])
    split: list[int] = []
    for tap, phase in zip(taps, phases, strict=True):
        split += [tap, phase]
    in_channels, group_out = weight.shape[:2]
    parts = padded.reshape(groups, in_channels // groups, group_out, *split)
    parts = np.flip(parts, axis=tuple(3 + 2 * d for d in range(dims)))
    tap_axes = [3 + 2 * d for d in range(dims)]
    phase_axes = [4 + 2 * d for d in range(dims)]
    order = [*phase_axes, 0, 2] if depthwise else [0, *phase_axes, 2]
    moved = parts.transpose(*order, *tap_axes, 1)
    return np.ascontiguousarray(moved.reshape(-1, *taps, in_channels // groups))
