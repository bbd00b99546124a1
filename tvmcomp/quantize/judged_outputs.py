"""What integers are judged by: the outputs, or the numbers that rows of an output were chosen by.

Suppression of boxes, the largest k, rows above a threshold: where rounding swaps two near scores
all rows behind them move, and a comparison element by element sees noise where nothing is worse.
Such an output's place is taken by what the choice was made from and of: the scores, and all boxes.

    y = take(boxes, order(scores))      judged by: scores, boxes
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from tvmcomp.passes.rewriter import main_bindings
from tvmcomp.quantize.planned_operator import PlannedOperator
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, Module

relax = tvm.relax


def with_judged_outputs(mod: Module, operators: Sequence[PlannedOperator]) -> Module:
    """``mod`` with other outputs of ``main`` where rows were chosen; the same module where not.

    Outputs stay where an operator of the plan works on chosen rows: nothing else tells of it.
    """
    rounding = {op.var for op in operators if op.rounds}
    choices = _Choices(mod, rounding)
    if not choices.chosen.isdisjoint(rounding):
        return mod
    func = mod["main"]
    output = choices.value_of(func.body.body)
    outputs = list(output.fields) if isinstance(output, relax.Tuple) else [func.body.body]
    kept = [each for each in outputs if choices.root_of(each) not in choices.chosen]
    instead = choices.chosen_from()
    if len(kept) == len(outputs) or not instead:
        return mod
    given = [*kept, *instead]
    body = relax.SeqExpr(func.body.blocks, relax.Tuple(given))
    result = relax.TupleType([each.ty for each in given])
    changed = relax.Function(func.params, body, result, func.is_pure, func.attrs)
    functions = {var: each for var, each in mod.functions.items() if each is not func}
    functions[mod.get_global_var("main")] = changed
    return tvm.IRModule(functions, attrs=mod.attrs, global_infos=mod.global_infos)


class _Choices:
    """Which tensors of ``main`` follow from integers that follow from what is rounded."""

    def __init__(self, mod: Module, rounding: Collection[Any]) -> None:
        self.values: dict[Any, Any] = {b.var: b.value for b in main_bindings(mod) or []}
        self.read = {var: relax.analysis.free_vars(value) for var, value in self.values.items()}
        rounded: set[Any] = set()
        self.chosen: set[Any] = set()
        for var, read in self.read.items():
            if var in rounding or any(arg in rounded for arg in read):
                rounded.add(var)
            if (var in rounded and _has(var, "int")) or any(arg in self.chosen for arg in read):
                self.chosen.add(var)

    def value_of(self, expr: Expr) -> Any:
        """What ``expr`` is bound to, names of names left out."""
        root = self.root_of(expr)
        return self.values.get(root, root)

    def root_of(self, expr: Expr) -> Any:
        """The first name of what ``expr`` names."""
        while isinstance(self.values.get(expr), relax.Var):
            expr = self.values[expr]
        return expr

    def chosen_from(self) -> list[Any]:
        """Computed numbers that a choice reads, in order."""
        found: dict[Any, None] = {}
        for var in self.values:
            if var in self.chosen:
                found |= dict.fromkeys(self._numbers(var))
        return [var for var in self.values if var in found]

    def _numbers(self, var: Any) -> Iterator[Any]:
        """The numbers that ``var`` reads, itself or through truth values."""
        for arg in self.read.get(var, ()):
            if arg in self.chosen or arg not in self.values:
                continue
            if _has(arg, "float"):
                yield arg
            else:
                yield from self._numbers(arg)


def _has(var: Any, kind: str) -> bool:
    """Whether ``var`` is, or holds, a tensor of this kind of elements."""
    if isinstance(var.ty, relax.TupleType):
        return any(str(getattr(field, "dtype", "")).startswith(kind) for field in var.ty.fields)
    return str(getattr(var.ty, "dtype", "")).startswith(kind)
