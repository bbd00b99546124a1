"""Lower recurrent layers to the kernel that a GPU has for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvmcomp.errors import TargetError
from tvmcomp.passes.lowering.recurrent_rewriter import RecurrentRewriter
from tvmcomp.passes.rewriter import const, const_value
from tvmcomp.recurrent import cell_of, operands_of
from tvmcomp.schedules.cuda.recurrent_kernel import packed, recurrent_kernel, recurrent_refusal
from tvmcomp.schedules.op_pattern import OpPattern
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_types import Expr, Module, Var

#: It is bound to blocks and threads as it is, and nothing is fused into it.
_ATTRIBUTES = {"tirx.is_scheduled": True, "op_pattern": int(OpPattern.OPAQUE)}


def gpu_recurrent(mod: Module, target: TargetDescription) -> Module:
    """Lower every recurrent layer of ``mod``.

    Raises:
        TargetError: a layer has what only a CPU's kernel computes.
    """
    return _GpuRecurrent(mod, target).run()


class _GpuRecurrent(RecurrentRewriter):
    def kernel(self, var: Var, call: Expr, wanted: Sequence[int]) -> Expr:
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
        weights = [const(each) for each in packed(cell, weight)]

        def compute(x: Any, *tensors: Any) -> Any:
            others = tensors[len(weights) :]
            given = dict(zip(operands, others, strict=True))
            return recurrent_kernel(cell, x, tensors[: len(weights)], given, wanted)

        return self.builder.call_te(
            compute,
            x,
            *weights,
            *operands.values(),
            primfunc_name_hint=var.name,
            primfunc_attrs=_ATTRIBUTES,
        )
