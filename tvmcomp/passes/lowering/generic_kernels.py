"""Which operators have only a generic kernel: they multiply and add up in the default schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.model import Operator
from tvmcomp.passes.lowering.kernel_sources import kernels_of_operators
from tvmcomp.schedules.anchor import ANCHOR
from tvmcomp.schedules.stages import Load
from tvmcomp.tvm_import import tvm

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

_REDUCE = tvm.tirx.IterVar.CommReduce


def with_generic_marked(
    operators: Sequence[Operator],
    sources: Mapping[str, frozenset[str]],
    tasks: Mapping[str, PrimFunc],
) -> list[Operator]:
    """``operators``, those marked whose products no schedule is made for.

    Equal operators share a kernel, which has the name of one of them: that one is marked.

    Args:
        operators: the build report's list.
        sources: what each kernel computes, see :func:`kernel_sources`.
        tasks: the fused PrimFuncs before scheduling, by kernel.
    """
    products = [operator.name for operator in operators if operator.macs]
    generic = {
        name
        for name, found in kernels_of_operators(products, sources).items()
        if any(is_generic_product(tasks[kernel]) for kernel in found if kernel in tasks)
    }
    return [
        msgspec.structs.replace(operator, generic=operator.name in generic)
        for operator in operators
    ]


def is_generic_product(func: PrimFunc) -> bool:
    """Whether the unscheduled ``func`` adds up products and names no schedule for that."""
    anchored: list[bool] = []
    products: list[bool] = []

    def see(block: tvm.s_tir.SBlock) -> None:
        anchored.append(ANCHOR in block.annotations)
        if any(axis.iter_type == _REDUCE for axis in block.iter_vars):
            products.append(_multiplies_data(block.body))

    tvm_ffi.structural_walk(func.body, (tvm.s_tir.SBlock, see))
    return any(products) and not any(anchored)


def _multiplies_data(body: Any) -> bool:
    """Whether two values out of tensors are multiplied in ``body``; indices don't count."""
    found: list[bool] = []

    def see(product: Any) -> None:
        found.append(_reads(product.a) and _reads(product.b))

    tvm_ffi.structural_walk(body, (tvm.tirx.Mul, see))
    return any(found)


def _reads(expression: Any) -> bool:
    loads: list[bool] = []
    tvm_ffi.structural_walk(expression, (Load, lambda _: loads.append(True)))
    return bool(loads)
