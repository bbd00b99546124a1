"""The roofline: how fast a kernel could be on a device, from its arithmetic and its tensors.

A target's description tells the width of its vectors and not its clock. An ordinary clock is taken
for a start, and a kernel that turns out to be faster than its bound raises the bounds of all: the
roofline ranks kernels by what may still be won, and tells where a search can stop.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.targets.description import TargetDescription
from tvmcomp.tuning.log.record import Argument
from tvmcomp.tvm_import import tvm

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

_REDUCE = tvm.tirx.IterVar.CommReduce
#: Cycles a second: what cores of the family run at, about.
_CLOCK = {"x86": 3.5e9, "arm": 2.0e9, "riscv": 1.5e9, "cuda": 1.5e9}
#: 8-bit multiply-accumulates for one of float32 in the same vector, by dot product.
_BYTE_SPEEDUP = {"amx_int8": 16, "avx512_vnni": 4, "avx_vnni": 4, "i8mm": 8, "sdot": 4}
#: Bytes a cycle and core from the caches that a network's tensors live in.
_BYTES_A_CYCLE = 16


class Roofline:
    """Least times of kernels on a target."""

    def __init__(self, target: TargetDescription) -> None:
        self._target = target
        self._clock = _CLOCK[target.family]

    def seconds(self, func: PrimFunc, arguments: tuple[Argument, ...]) -> float:
        """No call of the unscheduled ``func`` takes less, as far as is known."""
        return max(self._arithmetic(func, arguments), self._moves(arguments))

    def raise_to(self, func: PrimFunc, arguments: tuple[Argument, ...], seconds: float) -> None:
        """Take in that a call took ``seconds``: the cores are at least so fast."""
        self._clock *= max(1.0, self._arithmetic(func, arguments) / seconds)

    def _arithmetic(self, func: PrimFunc, arguments: tuple[Argument, ...]) -> float:
        target = self._target
        lanes = target.vector_bits / 32
        if arguments[0].dtype in ("int8", "uint8"):
            lanes *= _BYTE_SPEEDUP.get(target.dot_product, 1)
        elif arguments[0].dtype in ("bfloat16", "uint16") and target.bfloat16:
            lanes *= 2
        return multiply_adds(func) / (lanes * self._clock * target.cores)

    def _moves(self, arguments: tuple[Argument, ...]) -> float:
        return sum(map(_bytes, arguments)) / (_BYTES_A_CYCLE * self._clock * self._target.cores)


def multiply_adds(func: PrimFunc) -> int:
    """Steps of all reductions in the unscheduled ``func``."""
    counts: list[int] = []

    def see(block: tvm.s_tir.SBlock) -> None:
        if any(axis.iter_type == _REDUCE for axis in block.iter_vars):
            counts.append(math.prod(int(axis.dom.extent) for axis in block.iter_vars))

    tvm_ffi.structural_walk(func.body, (tvm.s_tir.SBlock, see))
    return sum(counts)


def _bytes(argument: Argument) -> int:
    size = 2 if argument.dtype == "bfloat16" else np.dtype(argument.dtype).itemsize
    return size * math.prod(argument.shape)
