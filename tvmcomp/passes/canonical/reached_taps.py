"""Taps of a window that lie in the padding wherever it stands are left out.

    conv2d(x[.., 14, 14], w[.., 3, 3], dilation 18, padding 18)  ->  conv2d(x, w[.., 1:2, 1:2])

Windows reach so far beyond the image with large dilation over a small one (DeepLab's), and those of
detectors over their last few pixels. A tap there multiplies nothing but zeros.
"""

from __future__ import annotations

import numpy as np

from tvmcomp.passes.operator_kinds import CONVOLUTIONS
from tvmcomp.passes.rewriter import (
    BindingRewriter,
    calls_any,
    const,
    const_value,
    op_name,
    shape_of,
)
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, Module, Var

relax = tvm.relax


def reached_taps(mod: Module) -> Module:
    """Cut such taps off the convolutions of ``mod``, channels first, where weights are constant."""
    return _ReachedTaps(mod).run() if calls_any(mod, CONVOLUTIONS) else mod


class _ReachedTaps(BindingRewriter):
    def rewrite(self, var: Var, value: Expr) -> Expr:
        name = op_name(value)
        weight = const_value(value.args[1]) if name in CONVOLUTIONS else None
        if weight is None or not str(value.attrs.kernel_layout).startswith("OI"):
            return super().rewrite(var, value)
        attrs, rank = value.attrs, weight.ndim - 2
        before, after = (
            [int(size) for size in part] for part in (attrs.padding[:rank], attrs.padding[rank:])
        )
        strides, dilation = ([int(n) for n in each] for each in (attrs.strides, attrs.dilation))
        taps = tuple(
            _reached(size, kernel, stride, step, low, high)
            for size, kernel, stride, step, low, high in zip(
                shape_of(value.args[0])[2:],
                weight.shape[2:],
                strides,
                dilation,
                before,
                after,
                strict=True,
            )
        )
        channels = (slice(None), slice(None))
        kept = weight[channels + tuple(slice(tap.start, tap.stop) for tap in taps)]
        # An endless weight times zero is NaN, which stays.
        if kept.size == weight.size or not np.isfinite(weight).all():
            return super().rewrite(var, value)
        for axis, tap in enumerate(taps):
            before[axis] -= tap.start * dilation[axis]
            after[axis] -= (weight.shape[2 + axis] - tap.stop) * dilation[axis]
        conv = getattr(relax.op.nn, str(name).removeprefix("nn."))(
            self.substitute(value).args[0],
            const(np.ascontiguousarray(kept)),
            strides=strides,
            padding=[*before, *after],
            dilation=[1 if len(tap) == 1 else n for tap, n in zip(taps, dilation, strict=True)],
            groups=attrs.groups,
            data_layout=attrs.data_layout,
            kernel_layout=attrs.kernel_layout,
            out_dtype=attrs.out_dtype,
        )
        return self.emit(conv, var.name)


def _reached(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> range:
    """The taps along an axis, without those at its ends that see only padding.

    What remains still begins in the padding or at its edge, and ends so.
    """
    count = (size + before + after - dilation * (kernel - 1) - 1) // stride + 1
    seen = [
        tap
        for tap in range(kernel)
        if any(0 <= at * stride + tap * dilation - before < size for at in range(count))
    ]
    if not seen:
        return range(kernel)
    first = min(seen[0], before // dilation)
    last = max(seen[-1], kernel - 1 - after // dilation)
    return range(first, last + 1)
