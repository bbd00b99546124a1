"""Kernels that merely move data: joins of tensors along an axis, and parts of one.

They are kernels of their own, which :mod:`tvmcomp.passes.scheduled.in_place` takes away again where
producers can write, and readers read, in the place of the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Tensor

#: PrimFunc attribute of a join: its axis, then the size of each part along it.
JOIN = "tvmcomp.join"
#: PrimFunc attribute of a part of a tensor: index of its first element in each dimension.
PART = "tvmcomp.part"
#: PrimFunc attribute: it may be that what a kernel reads or writes will lie within another tensor.
BESIDE_MOVE = "tvmcomp.beside_move"


def join(axis: int, *parts: Tensor) -> Any:
    """The ``parts`` one after the other along ``axis``."""
    return tvm.topi.concatenate(list(parts), axis)


def part(data: Tensor, begin: Sequence[int], shape: Sequence[int]) -> Any:
    """The elements of ``data`` from ``begin`` on, as many as ``shape`` says."""

    def at(*index: Any) -> Any:
        return data[tuple(i + first if first else i for i, first in zip(index, begin, strict=True))]

    return tvm.te.compute(list(shape), at, name="part")
