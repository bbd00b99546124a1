"""Lower scatters along an axis to a kernel of ours: TVM's is wrong where updates are smaller."""

from __future__ import annotations

from tvmcomp.passes.rewriter import BindingRewriter, calls_any, op_name, shape_of
from tvmcomp.schedules.rows.scatter import UPDATES, scatter_elements
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_types import Call, Expr, Module, Var

_SCATTER = ("scatter_elements",)


def lower_scatter(mod: Module, target: TargetDescription) -> Module:
    """Lower every ``scatter_elements`` of ``mod``, for ``target``."""
    return _LowerScatter(mod, target).run() if calls_any(mod, _SCATTER) else mod


class _LowerScatter(BindingRewriter):
    def __init__(self, mod: Module, target: TargetDescription) -> None:
        super().__init__(mod)
        self.target = target

    def rewrite(self, var: Var, value: Expr) -> Expr:
        if op_name(value) not in _SCATTER or not self.covers(value):
            return super().rewrite(var, value)
        axis = int(value.attrs.axis) % len(shape_of(value.args[0]))
        reduction = str(value.attrs.reduction)
        call = self.builder.call_te(
            lambda x, i, u: scatter_elements(x, i, u, axis, reduction, self.target),
            *(self.substitute(arg) for arg in value.args),
            primfunc_name_hint=var.name,
        )
        return self.emit(call, var.name)

    @staticmethod
    def covers(call: Call) -> bool:
        """Whether there is something to do, and it is known how."""
        empty = any(0 in shape_of(arg) for arg in call.args)
        return str(call.attrs.reduction) in UPDATES and not empty and bool(shape_of(call.args[0]))
