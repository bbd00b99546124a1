"""A transposed convolution as an ordinary one: the sub-pixel form of Shi et al., "Is the
deconvolution layer the same as a convolutional layer?" (arXiv:1609.07009).

With stride ``s``, output pixel ``s * q + r`` reads input pixels ``q - j`` through the taps
``s * j + r`` of the kernel. So the ``s`` phases ``r`` are ``s`` times as many channels of one
convolution, with ``ceil(k / s)`` taps and stride 1; its channels are then moved into space. No
product with a stuffed zero is computed, and it runs on the convolution's kernels, in integers too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tvmcomp.passes.rewriter import const, shape_of
from tvmcomp.tvm_import import tvm

relax = tvm.relax
_LAYOUTS = {1: ("NWC", "OWI"), 2: ("NHWC", "OHWI")}


def applies(attrs: Any, weight: np.ndarray | None, dims: int) -> bool:
    """Whether the sub-pixel form covers this transposed convolution."""
    return (
        weight is not None
        and dims in _LAYOUTS
        and int(attrs.groups) == 1
        and all(int(d) == 1 for d in attrs.dilation)
        and str(attrs.kernel_layout).startswith("IO")
        and str(attrs.data_layout).startswith("NC")
    )


def subpixel(
    emit: Callable[[Any, str], Any],
    data: Any,
    weight: np.ndarray,
    attrs: Any,
    extents: tuple[int, ...],
    name: str,
) -> Any:
    """Emit the sub-pixel form.

    Args:
        emit: binds an expression to a name.
        data: channels last, ``[N, *spatial, I]``.
        weight: ``[I, O, *kernel]``.
        attrs: of the transposed convolution; :func:`applies` must hold.
        extents: the spatial extents of the output.
        name: of the result.

    Returns:
        The output, ``[N, *extents, O]``.
    """
    dims = len(extents)
    strides = [int(s) for s in attrs.strides]
    begins = [int(p) for p in attrs.padding][:dims]
    packed = _phases(weight, strides)
    taps = packed.shape[1:-1]
    batch, *spatial, _ = shape_of(data)
    # Padding that the output would only be cut by is never computed, a tap at a time.
    first = [begin // stride for begin, stride in zip(begins, strides, strict=True)]
    needed = [
        -(-(begin + extent) // stride)
        for begin, extent, stride in zip(begins, extents, strides, strict=True)
    ]
    before = [tap - 1 - skip for tap, skip in zip(taps, first, strict=True)]
    after = [need - size for need, size in zip(needed, spatial, strict=True)]
    data_layout, kernel_layout = _LAYOUTS[dims]
    convolve = getattr(relax.op.nn, f"conv{dims}d")
    if min(*before, *after) < 0:
        # More is cut than the padding adds: let the convolution compute it all, and cut then.
        first, before = [0] * dims, [tap - 1 for tap in taps]
        after = [max(extra, 0) for extra in after]
    conv = emit(
        convolve(
            data,
            const(packed),
            padding=[*before, *after],
            data_layout=data_layout,
            kernel_layout=kernel_layout,
        ),
        name,
    )
    rows = list(shape_of(conv)[1:-1])
    channels = weight.shape[1]
    apart = emit(relax.op.reshape(conv, [batch, *rows, *strides, channels]), f"{name}_phases")
    order = [0]
    for d in range(dims):
        order += [1 + d, 1 + dims + d]
    woven = emit(relax.op.permute_dims(apart, [*order, 1 + 2 * dims]), f"{name}_woven")
    full = [row * stride for row, stride in zip(rows, strides, strict=True)]
    whole = emit(relax.op.reshape(woven, [batch, *full, channels]), f"{name}_whole")
    starts = [b - f * s for b, f, s in zip(begins, first, strides, strict=True)]
    ends = [start + extent for start, extent in zip(starts, extents, strict=True)]
    if starts == [0] * dims and ends == full:
        return whole
    axes = list(range(1, dims + 1))
    return emit(relax.op.strided_slice(whole, axes, starts, ends), f"{name}_cut")


def _phases(weight: np.ndarray, strides: list[int]) -> np.ndarray:
    """``[I, O, *k]`` as ``[s0 * s1 * … * O, *taps, I]``, taps reversed as a convolution reads."""
    dims = len(strides)
    taps = [-(-k // s) for k, s in zip(weight.shape[2:], strides, strict=True)]
    fill = [(0, t * s - k) for t, s, k in zip(taps, strides, weight.shape[2:], strict=True)]
    padded = np.pad(weight, [(0, 0), (0, 0), *fill])
    split: list[int] = []
    for tap, stride in zip(taps, strides, strict=True):
        split += [tap, stride]
    parts = padded.reshape(*weight.shape[:2], *split)
    parts = np.flip(parts, axis=tuple(2 + 2 * d for d in range(dims)))
    tap_axes = [2 + 2 * d for d in range(dims)]
    phase_axes = [3 + 2 * d for d in range(dims)]
    moved = parts.transpose(*phase_axes, 1, *tap_axes, 0)
    return np.ascontiguousarray(moved.reshape(-1, *taps, weight.shape[0]))
