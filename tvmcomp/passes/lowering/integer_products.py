"""Products of 8-bit integers in the types that the target's dot product takes.

    product(x: int8, w: int8)   -> product(x + 128: uint8, w) - 128 * sum(w)     x86
    product(x: uint8, w: int8)  -> product(x - 128: int8, w) + 128 * sum(w)      ARM

The products that ``realize`` makes have the right types already; those of an imported
MatMulInteger or ConvInteger have what the model says. Adding 128 changes one bit of a byte.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.passes.operator_kinds import ANCHORS
from tvmcomp.passes.rewriter import (
    BindingRewriter,
    const,
    const_value,
    dtype_of,
    main_bindings,
    op_name,
    shape_of,
    with_attributes,
)
from tvmcomp.schedules.dot import int8_kernel
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Binding, Expr, Module, Var

relax = tvm.relax
_BYTES = ("int8", "uint8")


def integer_products(mod: Module, target: TargetDescription) -> Module:
    """Give every product of 8-bit data and an int8 weight in ``mod`` data of the target's type."""
    if not any(map(_is_integer_product, main_bindings(mod) or [])):
        return mod
    return _IntegerProducts(mod, int8_kernel(target).data).run()


def _is_integer_product(binding: Binding) -> bool:
    return op_name(binding.value) in ANCHORS and dtype_of(binding.var) == "int32"


class _IntegerProducts(BindingRewriter):
    def __init__(self, mod: Module, wanted: str) -> None:
        super().__init__(mod)
        self.wanted = wanted

    def rewrite(self, var: Var, value: Expr) -> Expr:
        if op_name(value) not in ANCHORS or dtype_of(var) != "int32":
            return super().rewrite(var, value)
        data, weight = value.args[:2]
        if {dtype_of(data), self.wanted} != set(_BYTES) or dtype_of(weight) != "int8":
            return super().rewrite(var, value)
        data, weight = (self.substitute(arg) for arg in (data, weight))
        moved, offset = self.moved(data, var.name)
        if op_name(value) == "matmul":
            product = relax.op.matmul(moved, weight, out_dtype="int32")
            axes = [len(shape_of(weight)) - 2]
        else:
            padding = [int(p) for p in value.attrs.padding]
            attrs = with_attributes(value.attrs, padding=[0] * len(padding))
            product = relax.Call(
                value.op, [self.bordered(moved, padding, offset, var.name), weight], attrs
            )
            axes = list(range(1, len(shape_of(weight))))
        product = self.emit(product, f"{var.name}_product")
        share = self.share(weight, axes, offset, op_name(value) == "matmul", var.name)
        return self.emit(relax.op.subtract(product, share), var.name)

    def moved(self, data: Expr, name: str) -> tuple[Any, int]:
        """``data`` in the wanted type, and what was added to it."""
        given = dtype_of(data)
        bit = relax.const(np.array(-128 if given == "int8" else 128, given), given)
        flipped = self.emit(relax.op.bitwise_xor(data, bit), f"{name}_flipped")
        moved = self.emit(relax.op.astype(flipped, self.wanted), f"{name}_data")
        return moved, 128 if self.wanted == "uint8" else -128

    def bordered(self, data: Expr, padding: list[int], value: int, name: str) -> Expr:
        """``data [N, *S, C]`` with the padding of a convolution, which stands for ``value``."""
        if not any(padding):
            return data
        rank = len(padding) // 2
        pairs = [width for d in range(rank) for width in (padding[d], padding[d + rank])]
        call = relax.op.nn.pad(data, [0, 0, *pairs, 0, 0], "constant", float(value))
        return self.emit(call, f"{name}_bordered")

    def share(self, weight: Expr, axes: list[int], offset: int, keep: bool, name: str) -> Expr:
        """``offset`` times the sums of ``weight`` over ``axes``: int32."""
        known = const_value(weight)
        if known is not None:
            sums = known.sum(axis=tuple(axes), keepdims=keep, dtype=np.int32)
            return const((sums * np.int32(offset)).astype(np.int32))
        wide = self.emit(relax.op.astype(weight, "int32"), f"{name}_wide")
        sums = self.emit(relax.op.sum(wide, axes, keepdims=keep), f"{name}_sums")
        factor = relax.const(offset, "int32")
        return self.emit(relax.op.multiply(sums, factor), f"{name}_share")
