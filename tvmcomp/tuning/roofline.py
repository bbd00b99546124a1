"""The roofline: how fast a kernel could be on a device, from its arithmetic and its tensors.

A kernel that turns out to be faster than its bound raises the bounds of all: the roofline ranks
kernels by what may still be won, and tells where a search can stop.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.targets.description import TargetDescription
from tvmcomp.tuning.log.record import Argument
from tvmcomp.tuning.peaks import Peaks
from tvmcomp.tvm_import import tvm

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

_REDUCE = tvm.tirx.IterVar.CommReduce


class Roofline:
    """Least times of kernels on a target."""

    def __init__(self, target: TargetDescription) -> None:
        self._peaks = Peaks(target)

    def seconds(self, func: PrimFunc, arguments: tuple[Argument, ...]) -> float:
        """No call of the unscheduled ``func`` takes less, as far as is known."""
        return max(self._arithmetic(func, arguments), self._moves(arguments))

    def raise_to(self, func: PrimFunc, arguments: tuple[Argument, ...], seconds: float) -> None:
        """Take in that a call took ``seconds``: the cores are at least so fast."""
        self._peaks.clock *= max(1.0, self._arithmetic(func, arguments) / seconds)

    def _arithmetic(self, func: PrimFunc, arguments: tuple[Argument, ...]) -> float:
        return multiply_adds(func) / self._peaks.multiply_adds(arguments[0].dtype)

    def _moves(self, arguments: tuple[Argument, ...]) -> float:
        return sum(map(nbytes, arguments)) / self._peaks.bytes()


def multiply_adds(func: PrimFunc) -> int:
    """Steps of all reductions in the unscheduled ``func``; of a loop whose length is computed when
    it runs, one.
    """
    counts: list[int] = []

    def see(block: tvm.s_tir.SBlock) -> None:
        if any(axis.iter_type == _REDUCE for axis in block.iter_vars):
            extents = (axis.dom.extent for axis in block.iter_vars)
            counts.append(math.prod(int(n) for n in extents if isinstance(n, tvm.tirx.IntImm)))

    tvm_ffi.structural_walk(func.body, (tvm.s_tir.SBlock, see))
    return sum(counts)


def nbytes(argument: Argument) -> int:
    """Size of a tensor of a kernel."""
    size = 2 if argument.dtype == "bfloat16" else np.dtype(argument.dtype).itemsize
    return size * math.prod(argument.shape)
