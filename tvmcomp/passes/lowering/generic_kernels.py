"""Which operators have only a generic kernel: they multiply and add up in the default schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.model import Operator
from tvmcomp.passes.lowering.kernel_sources import kernels_of_operators
from tvmcomp.schedules.anchor import ANCHOR
from tvmcomp.tvm_import import tvm

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc


def with_generic_marked(
    operators: Sequence[Operator],
    sources: Mapping[str, frozenset[str]],
    tasks: Mapping[str, PrimFunc],
) -> list[Operator]:
    """``operators``, those marked that have products and no kernel with a schedule of its own.

    Args:
        operators: the build report's list.
        sources: what each kernel computes, see :func:`kernel_sources`.
        tasks: the fused PrimFuncs before scheduling, by kernel.
    """
    products = [operator.name for operator in operators if operator.macs]
    kernels = kernels_of_operators(products, sources)
    generic = {
        name
        for name, found in kernels.items()
        if not any(has_anchor(tasks[kernel]) for kernel in found if kernel in tasks)
    }
    return [
        msgspec.structs.replace(operator, generic=operator.name in generic)
        for operator in operators
    ]


def has_anchor(func: PrimFunc) -> bool:
    """Whether a block of the unscheduled ``func`` names the schedule that it is made for."""
    found: list[bool] = []

    def see(block: tvm.s_tir.SBlock) -> None:
        found.append(ANCHOR in block.annotations)

    tvm_ffi.structural_walk(func.body, (tvm.s_tir.SBlock, see))
    return any(found)
