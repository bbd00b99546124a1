"""The two forms in which a tensor of an image-like rank exists: channels first, and channels last.

A form that is asked for and does not exist yet is made by a transpose, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvmcomp.passes.rewriter import (
    BindingRewriter,
    Constant,
    const,
    const_value,
    op_name,
    shape_of,
)
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, Module

relax = tvm.relax


@dataclass
class Forms:
    """The forms in which a tensor of the old function exists in the new one."""

    plain: Any = None
    last: Any = None


def to_last(rank: int) -> list[int]:
    """The permutation from plain to channels last: ``[0, 2, 3, 1]`` for rank 4."""
    return [0, *range(2, rank), 1]


def to_plain(rank: int) -> list[int]:
    """The permutation from channels last to plain: ``[0, 3, 1, 2]`` for rank 4."""
    return [0, rank - 1, *range(1, rank - 1)]


class TwoForms(BindingRewriter):
    """Rewrite a function whose tensors exist in either form, or in both."""

    def __init__(self, mod: Module) -> None:
        super().__init__(mod)
        self.forms: dict[Any, Forms] = {}

    def substitute(self, value: Expr) -> Expr:
        """What has no rule asks for the plain forms."""
        for var in relax.analysis.free_vars(value):
            self.env[var] = self.plain(var)
        return super().substitute(value)

    def forms_of(self, expr: Expr) -> Forms:
        """The forms that a tensor of the old function has by now."""
        if isinstance(expr, Constant):
            return Forms(plain=expr)
        if expr not in self.forms:
            self.forms[expr] = Forms(plain=self.env.get(expr, expr))
        return self.forms[expr]

    def plain(self, expr: Expr) -> Expr:
        """A tensor with its channels first."""
        forms = self.forms_of(expr)
        if forms.plain is None:
            rank = len(shape_of(forms.last))
            forms.plain = self.permuted(forms.last, to_plain(rank), name_of(expr))
        return forms.plain

    def last(self, expr: Expr) -> Expr:
        """A tensor with its channels last."""
        forms = self.forms_of(expr)
        if forms.last is None:
            rank = len(shape_of(forms.plain))
            forms.last = self.permuted(forms.plain, to_last(rank), name_of(expr))
        return forms.last

    def prefers_last(self, expr: Expr) -> bool:
        """Whether a tensor exists with its channels last only."""
        forms = self.forms_of(expr)
        return forms.last is not None and forms.plain is None

    def permuted(self, expr: Expr, axes: Sequence[int], name: str) -> Expr:
        """``expr`` transposed: a constant at once, a mere move of a unit axis as a reshape."""
        value = const_value(expr)
        if value is not None:
            return const(value.transpose(axes))
        source = self.builder.lookup_binding(expr) if isinstance(expr, relax.Var) else None
        if source is not None and op_name(source) == "dequantize":
            data, scale, zero_point = source.args
            value = const_value(data)
            if value is not None:  # The weight of an imported quantized model.
                axis = axes.index(source.attrs.axis % len(axes))
                return self.emit(
                    relax.op.dequantize(const(value.transpose(axes)), scale, zero_point, axis),
                    name,
                )
        shape = shape_of(expr)
        moved = [axis for axis in axes if shape[axis] > 1]
        if moved == sorted(moved):
            return self.emit(relax.op.reshape(expr, [shape[axis] for axis in axes]), f"{name}_as")
        return self.emit(relax.op.permute_dims(expr, list(axes)), f"{name}_t")


def name_of(expr: Expr) -> str:
    """What a tensor made of ``expr`` is called by."""
    return expr.name if isinstance(expr, relax.Var) else "const"
