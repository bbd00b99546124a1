"""Division by a constant as multiplication by its reciprocal: a vector division takes ten times as
long.

The result may be one unit in the last place off, which a rounding to whole numbers can turn into a
whole one: quantization written out in operators rounds its largest value, divided by a scale that
was itself divided by 127.5, at exactly a half. What is rounded later is divided as it stands.
"""

from __future__ import annotations

import numpy as np

from tvmcomp.passes.elementwise import is_float_tensor
from tvmcomp.passes.operator_kinds import ANCHORS
from tvmcomp.passes.rewriter import (
    BindingRewriter,
    calls_any,
    const,
    const_value,
    main_bindings,
    op_name,
)
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, Module, Var

relax = tvm.relax


def constant_division(mod: Module) -> Module:
    """Rewrite the float32 divisions of ``mod`` whose divisor is constant."""
    return _ConstantDivision(mod).run() if calls_any(mod, ["divide"]) else mod


#: They make whole numbers of real ones, beside casts.
_ROUNDING = frozenset(["round", "floor", "ceil", "trunc", "quantize", "floor_divide", "floor_mod"])


class _ConstantDivision(BindingRewriter):
    def __init__(self, mod: Module) -> None:
        super().__init__(mod)
        self.rounded_later = _rounded_later(mod)

    def rewrite(self, var: Var, value: Expr) -> Expr:
        divisor = const_value(value.args[1]) if op_name(value) == "divide" else None
        if divisor is None or divisor.dtype != np.float32 or var in self.rounded_later:
            return super().rewrite(var, value)
        with np.errstate(divide="ignore", over="ignore"):
            reciprocal = np.asarray(1 / divisor.astype(np.float64)).astype(np.float32)
        tiny = np.finfo(np.float32).tiny
        if not (np.isfinite(reciprocal) & (np.abs(reciprocal) >= tiny)).all():
            return super().rewrite(var, value)
        data = self.substitute(value).args[0]
        return self.emit(relax.op.multiply(data, const(reciprocal)), var.name)


def _rounded_later(mod: Module) -> set[Var]:
    """What is rounded with no sum over many in between, whose own error is larger."""
    found: set[Var] = set()
    for binding in reversed(main_bindings(mod) or []):
        kind = op_name(binding.value)
        if _rounds(binding.value, kind) or (binding.var in found and kind not in ANCHORS):
            found.update(relax.analysis.free_vars(binding.value))
    return found


def _rounds(value: Expr, kind: str | None) -> bool:
    if kind == "astype":
        return is_float_tensor(value.args[0]) and not str(value.attrs.dtype).startswith("float")
    return kind in _ROUNDING
