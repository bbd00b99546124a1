"""Lower products with weights of 4 bits: their kernel on a CPU, a float weight on a GPU."""

from __future__ import annotations

import math
from typing import Any

from tvmcomp.block_weights import BLOCK_MATMUL, block_of, unpacked
from tvmcomp.passes.rewriter import (
    BindingRewriter,
    calls_any,
    const,
    const_value,
    op_name,
    shape_of,
)
from tvmcomp.schedules.matmul.block_matmul import block_product, pack_columns
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, Module, Var

relax = tvm.relax


def lower_block_matmul(mod: Module, target: TargetDescription) -> Module:
    """Lower every such product of ``mod``."""
    return _LowerBlockMatmul(mod, target).run() if calls_any(mod, [BLOCK_MATMUL]) else mod


class _LowerBlockMatmul(BindingRewriter):
    def __init__(self, mod: Module, target: TargetDescription) -> None:
        super().__init__(mod)
        self.target = target

    def rewrite(self, var: Var, value: Expr) -> Expr:
        if op_name(value) != BLOCK_MATMUL:
            return super().rewrite(var, value)
        x, block = self.substitute(value.args[0]), block_of(value)
        arrays = [const_value(arg) for arg in value.args[1:]]
        codes, scales, zeros = (array for array in arrays if array is not None)
        if self.target.family == "cuda":
            weight = const(unpacked(codes, scales, zeros, block))
            return self.emit(relax.op.matmul(x, weight), var.name)
        shape, columns = shape_of(x), len(codes)
        flat = x
        if len(shape) != 2:
            rows = math.prod(shape[:-1])
            flat = self.emit(relax.op.reshape(x, (rows, shape[-1])), f"{var.name}_rows")

        def compute(x: Any, codes: Any, scales: Any, zeros: Any) -> Any:
            return block_product(x, codes, scales, zeros, block, columns, self.target)

        packed = [const(pack_columns(array)) for array in (codes, scales, zeros)]
        call = self.builder.call_te(compute, flat, *packed, primfunc_name_hint=var.name)
        if len(shape) == 2:
            return self.emit(call, var.name)
        result = self.emit(call, f"{var.name}_product")
        return self.emit(relax.op.reshape(result, (*shape[:-1], columns)), var.name)
