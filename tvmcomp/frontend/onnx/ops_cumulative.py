"""Our converters of running sums and products."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.values import constant_like, ints_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax


class CumSum(Converter):
    """CumSum along an axis known at build time, from either end, with or without the own one."""

    cumulate = relax.op.cumsum
    start = 0

    @classmethod
    def _impl_v11(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data = inputs[0]
        rank = len(shape_of(data))
        (axis,) = ints_of(inputs[1], "axis")
        if not -rank <= axis < rank:
            raise ValueError(f"its axis {axis} is not among the {rank} of its data")
        axis %= rank
        if shape_of(data)[axis] == 1:
            first = np.full(shape_of(data), cls.start)
            return constant_like(data, first) if attr.get("exclusive", 0) else data
        reverse = bool(attr.get("reverse", 0))
        if reverse:
            data = bb.emit(relax.op.flip(data, axis))
        exclusive = bool(attr.get("exclusive", 0))
        summed = cls.cumulate(data, axis, exclusive=exclusive)
        return relax.op.flip(bb.emit(summed), axis) if reverse else summed


class CumProd(CumSum):
    """CumProd, as CumSum."""

    cumulate = relax.op.cumprod
    start = 1


#: ONNX operator -> converter.
CUMULATIVE = {"CumProd": CumProd, "CumSum": CumSum}
