"""Lower recurrent layers to the kernel that a GPU has for them."""

from __future__ import annotations

from typing import Any

from tvmcomp.errors import TargetError
from tvmcomp.passes.rewriter import BindingRewriter, const, const_value, consumers, op_name
from tvmcomp.recurrent import RECURRENT, cell_of, operands_of
from tvmcomp.schedules.cuda.recurrent_kernel import packed, recurrent_kernel, recurrent_refusal
from tvmcomp.schedules.op_pattern import OpPattern
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, Module, Var

relax = tvm.relax
#: It is bound to blocks and threads as it is, and nothing is fused into it.
_ATTRIBUTES = {"tirx.is_scheduled": True, "op_pattern": int(OpPattern.OPAQUE)}


def gpu_recurrent(mod: Module, target: TargetDescription) -> Module:
    """Lower every recurrent layer of ``mod``.

    Raises:
        TargetError: a layer has what only a CPU's kernel computes.
    """
    return _GpuRecurrent(mod, target).run()


class _GpuRecurrent(BindingRewriter):
    def __init__(self, mod: Module, target: TargetDescription) -> None:
        super().__init__(mod)
        self.target = target
        self.users = consumers(mod)
        #: A layer's variable -> its results by their number.
        self.results: dict[Any, dict[int, Any]] = {}

    def rewrite(self, var: Var, value: Expr) -> Expr:
        if op_name(value) == RECURRENT:
            self.results[var] = self.lowered(var, value)
            return var  # Nothing reads it any more.
        if isinstance(value, relax.TupleGetItem) and value.tuple_value in self.results:
            return self.results[value.tuple_value][int(value.index)]
        return super().rewrite(var, value)

    def lowered(self, var: Var, call: Expr) -> dict[int, Any]:
        """The results that are read, by their number."""
        cell = cell_of(call)
        operands = {name: self.substitute(arg) for name, arg in operands_of(call).items()}
        x, weight = operands.pop("x"), const_value(operands.pop("weight"))
        reason = recurrent_refusal(cell)
        if weight is None or reason is not None:
            raise TargetError(
                f"the recurrent layer {var.name} can't be computed on a GPU: "
                f"{reason or 'its weight is computed'}",
                where=self.target.name,
                hint="Build the network for a CPU.",
            )
        wanted = sorted({int(user.value.index) for user in self.users[var]})
        if not wanted:
            return {}
        weights = [const(each) for each in packed(cell, weight)]

        def compute(x: Any, *tensors: Any) -> Any:
            others = tensors[len(weights) :]
            given = dict(zip(operands, others, strict=True))
            return recurrent_kernel(cell, x, tensors[: len(weights)], given, wanted)

        kernel = self.builder.call_te(
            compute,
            x,
            *weights,
            *operands.values(),
            primfunc_name_hint=var.name,
            primfunc_attrs=_ATTRIBUTES,
        )
        result = self.emit(kernel, var.name)
        if len(wanted) == 1:
            return {wanted[0]: result}
        return {
            each: self.emit(relax.TupleGetItem(result, i), f"{var.name}_{each}")
            for i, each in enumerate(wanted)
        }
