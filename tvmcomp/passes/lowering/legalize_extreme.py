"""``relax.max`` and ``relax.min`` of floats, starting at infinity: of infinities alone they are
infinite. TVM's start at the largest finite number, so that a row that is all masked looks as if it
were not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.passes.rewriter import dtype_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Call, Expr

te, tirx = tvm.te, tvm.tirx


def legalize_extreme(builder: Builder, call: Call) -> Expr:
    """The legalization of ``relax.max`` and ``relax.min``, for ``LegalizeOps``."""
    data = call.args[0]
    if not dtype_of(data).startswith("float"):
        return call.op.get_attr("FLegalize")(builder, call)
    rank = len(data.ty.shape)
    given = call.attrs.axis
    axes = sorted({int(axis) % rank for axis in (range(rank) if given is None else given)})
    largest = call.op.name == "relax.max"
    reducer = te.comm_reducer(
        lambda a, b: tirx.max(a, b) if largest else tirx.min(a, b),
        lambda dtype: tirx.const(-np.inf if largest else np.inf, dtype),
        name="max" if largest else "min",
    )

    def compute(x: Expr) -> Expr:
        reduced = {axis: te.reduce_axis((0, x.shape[axis]), name=f"k{axis}") for axis in axes}
        keepdims = bool(call.attrs.keepdims)
        shape = [
            1 if axis in reduced else size
            for axis, size in enumerate(x.shape)
            if keepdims or axis not in reduced
        ]

        def element(*at: Any) -> Any:
            rest = iter(at)
            place = []
            for axis in range(rank):
                if axis in reduced:
                    place.append(reduced[axis])
                    if keepdims:
                        next(rest)
                else:
                    place.append(next(rest))
            return reducer(x(*place), axis=list(reduced.values()))

        return te.compute(shape, element, name=f"{call.op.name.removeprefix('relax.')}_red")

    return builder.call_te(compute, data, primfunc_name_hint=call.op.name.removeprefix("relax."))
