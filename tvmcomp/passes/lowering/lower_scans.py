"""Lower running sums and products to kernels that walk along their axis in vectors."""

from __future__ import annotations

from tvmcomp.passes.rewriter import BindingRewriter, calls_any, dtype_of, op_name, shape_of
from tvmcomp.schedules.rows.scan import Combine, scan
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, Module, Var

relax = tvm.relax

#: Relax's operator -> what it combines with, and what that starts from.
_SCANS: dict[str, tuple[Combine, int]] = {
    "cumsum": (lambda a, b: a + b, 0),
    "cumprod": (lambda a, b: a * b, 1),
}


def lower_scans(mod: Module, target: TargetDescription) -> Module:
    """Lower every running sum and product of ``mod``, for ``target``."""
    return _LowerScans(mod, target).run() if calls_any(mod, _SCANS) else mod


class _LowerScans(BindingRewriter):
    def __init__(self, mod: Module, target: TargetDescription) -> None:
        super().__init__(mod)
        self.target = target

    def rewrite(self, var: Var, value: Expr) -> Expr:
        kind = _SCANS.get(op_name(value) or "")
        if kind is None or 0 in shape_of(var) or dtype_of(value.args[0]) != dtype_of(var):
            return super().rewrite(var, value)
        dtype = dtype_of(var)
        data, (combine, start) = self.substitute(value.args[0]), kind
        if value.attrs.axis is None:
            data = self.emit(relax.op.reshape(data, [-1]), f"{var.name}_flat")
        axis = int(value.attrs.axis or 0) % len(shape_of(data))
        exclusive = bool(int(value.attrs.exclusive))

        def compute(x: Expr) -> Expr:
            return scan(x, axis, combine, tvm.tirx.const(start, dtype), exclusive, self.target)

        return self.emit(self.builder.call_te(compute, data, primfunc_name_hint=var.name), var.name)
