"""Loops of kernels that are written out in TVM's script builder."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from tvmcomp.tvm_import import tvm

tirx = tvm.tirx
T = tirx.script.builder


def whole(value: int) -> Any:
    """``value`` as an index, of the type that Relax's kernels have."""
    return tirx.IntImm("int64", value)


def serial(extent: int) -> AbstractContextManager[Any]:
    """A loop over 0 to ``extent - 1``; a loop that runs once is just its body."""
    if extent == 1:
        return nullcontext(whole(0))
    return T.serial(whole(0), whole(extent))


def vectorized(lanes: int) -> AbstractContextManager[Any]:
    """A loop over 0 to ``lanes - 1`` in one vector."""
    if lanes == 1:
        return nullcontext(whole(0))
    return T.vectorized(whole(0), whole(lanes))
