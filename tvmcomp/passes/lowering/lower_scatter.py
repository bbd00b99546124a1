"""Lower scatters along an axis to a kernel of ours: TVM's is wrong where updates are smaller."""

from __future__ import annotations

from typing import Any

from tvmcomp.passes.rewriter import BindingRewriter, op_name, shape_of
from tvmcomp.schedules.rows.scatter import UPDATES, scatter_elements
from tvmcomp.targets import TargetDescription


def lower_scatter(mod: Any, target: TargetDescription) -> Any:
    """Lower every ``scatter_elements`` of ``mod``, for ``target``."""
    return _LowerScatter(mod, target).run()


class _LowerScatter(BindingRewriter):
    def __init__(self, mod: Any, target: TargetDescription) -> None:
        super().__init__(mod)
        self.target = target

    def rewrite(self, var: Any, value: Any) -> Any:
        if op_name(value) != "scatter_elements" or not self.covers(value):
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
    def covers(call: Any) -> bool:
        """Whether there is something to do, and it is known how."""
        empty = any(0 in shape_of(arg) for arg in call.args)
        return str(call.attrs.reduction) in UPDATES and not empty and bool(shape_of(call.args[0]))
