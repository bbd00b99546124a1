"""The border around a convolution's data.

It is a kernel of its own, ``pad``, which :mod:`tvmcomp.passes.scheduled.halo` takes away again
where the data's producer can write the border itself.
"""

from __future__ import annotations

from typing import Any

from tvmcomp.schedules.anchor import Widths, element
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr, Tensor

te = tvm.te
tirx = tvm.tirx

#: PrimFunc attribute of a padding kernel: elements before and after each dimension, in turns.
PADDING = "tvmcomp.padding"
#: PrimFunc attribute of a padding kernel: what the border holds.
PAD_VALUE = "tvmcomp.pad_value"
#: PrimFunc attribute of the same: behind the last dimension the border may hold anything.
FREE_BEHIND = "tvmcomp.free_behind"


def pad(data: Tensor, widths: Widths, value: int) -> Any:
    """``data`` with a border of ``value``."""
    shape = [int(dim) for dim in data.shape]

    def at(*index: PrimExpr) -> Any:
        inside = []
        for x, size, (before, after) in zip(index, shape, widths, strict=True):
            if before:
                inside.append(x >= before)
            if after:
                inside.append(x < size + before)
        source = [x - before for x, (before, _) in zip(index, widths, strict=True)]
        return tirx.if_then_else(
            tirx.all(*inside), element(data, *source), tirx.const(value, data.dtype)
        )

    padded = [size + before + after for size, (before, after) in zip(shape, widths, strict=True)]
    return te.compute(padded, at, name="pad")
