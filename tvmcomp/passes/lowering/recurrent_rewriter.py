"""What lowering a recurrent layer is on every device: one kernel for the results that are read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from tvmcomp.passes.rewriter import BindingRewriter, consumers, op_name
from tvmcomp.recurrent import RECURRENT
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, Module, Var

relax = tvm.relax


class RecurrentRewriter(BindingRewriter):
    """Replaces every recurrent layer of ``mod`` by its :meth:`kernel` for ``target``."""

    def __init__(self, mod: Module, target: TargetDescription) -> None:
        super().__init__(mod)
        self.target = target
        self.users = consumers(mod)
        #: A layer's variable -> its results by their number.
        self._results: dict[Any, dict[int, Any]] = {}

    @abstractmethod
    def kernel(self, var: Var, call: Expr, wanted: Sequence[int]) -> Expr:
        """The call of the kernel that computes the layer ``var``.

        Args:
            var: of the layer.
            call: the layer, its operands not substituted.
            wanted: numbers of the results that the kernel gives, in order; at least one.
        """

    def rewrite(self, var: Var, value: Expr) -> Expr:
        """The layer's kernel in its place, and its results where they are taken out of it."""
        if op_name(value) == RECURRENT:
            self._results[var] = self._lowered(var, value)
            return var  # Nothing reads it any more.
        if isinstance(value, relax.TupleGetItem) and value.tuple_value in self._results:
            return self._results[value.tuple_value][int(value.index)]
        return super().rewrite(var, value)

    def _lowered(self, var: Var, call: Expr) -> dict[int, Any]:
        """The results that are read, by their number."""
        wanted = sorted({int(user.value.index) for user in self.users[var]})
        if not wanted:
            return {}
        result = self.emit(self.kernel(var, call, wanted), var.name)
        if len(wanted) == 1:
            return {wanted[0]: result}
        return {
            number: self.emit(relax.TupleGetItem(result, i), f"{var.name}_{number}")
            for i, number in enumerate(wanted)
        }
