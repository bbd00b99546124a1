"""Products of two computed matrices on a GPU: read through views, written in the order wanted.

Heads that are split off by a reshape and a transpose, keys that are transposed, and a result whose
heads are joined again cost no copy: the kernel looks for its elements where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tvmcomp.passes.lowering.operands import Operand, trace_view
from tvmcomp.passes.rewriter import (
    BindingRewriter,
    const_value,
    consumers,
    dtype_of,
    main_bindings,
    op_name,
    shape_of,
)
from tvmcomp.schedules.op_pattern import OpPattern
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr, Module, Var

relax, te = tvm.relax, tvm.te

#: What tensor cores multiply.
_MULTIPLIED = ("float16", "bfloat16", "int8", "uint8")


def gpu_products(mod: Module) -> Module:
    """Lower the products of ``mod`` of which no factor is constant."""
    return _GpuProducts(mod).run()


class _GpuProducts(BindingRewriter):
    def __init__(self, mod: Module) -> None:
        super().__init__(mod)
        bindings = main_bindings(mod) or []
        self.producer = {binding.var: binding.value for binding in bindings}
        self.users = consumers(mod)
        #: Variable that holds the result -> the product, and the order of its dimensions.
        self.products: dict[Any, tuple[Call, list[int]]] = {}
        #: (Source, type) -> the source in that type.
        self.narrowed: dict[Any, Any] = {}
        #: Products whose result is only wanted in another order.
        self.inside: set[Any] = set()
        for binding in bindings:
            if _is_product(binding.value):
                self.plan(binding.var, binding.value)
        for var in self.products:
            self.producer.pop(var)  # what is read is not read through the product that gives it

    def plan(self, var: Var, call: Call) -> None:
        """Compute ``call`` where its one reader transposes it in the reader's place."""
        order, readers = list(range(len(shape_of(var)))), self.users[var]
        if len(readers) == 1 and readers[0] and op_name(readers[0].value) == "permute_dims":
            axes = readers[0].value.attrs.axes
            self.inside.add(var)
            wanted = order[::-1] if axes is None else [int(axis) % len(order) for axis in axes]
            self.products[readers[0].var] = call, wanted
        else:
            self.products[var] = call, order

    def rewrite(self, var: Var, value: Expr) -> Expr:
        if var in self.inside:
            return None
        if var not in self.products:
            return super().rewrite(var, value)
        call, order = self.products[var]
        left, right = (self.operand(arg) for arg in call.args)
        shape, total = shape_of(call), dtype_of(call)
        *batch, rows, columns = shape
        depth = shape_of(call.args[0])[-1]
        inputs, shared = [left.source, right.source], left.source.same_as(right.source)

        def compute(first: Any, second: Any = None) -> Any:
            other = first if shared else second
            k = te.reduce_axis((0, depth), name="k")

            def element(*at: Any) -> Any:
                i: list[Any] = [None] * len(order)
                for axis, index in zip(order, at, strict=True):
                    i[axis] = index
                *b, row, column = i
                a = _element(first, left, [*batch, rows, depth], [*b, row, k])
                c = _element(other, right, [*batch, depth, columns], [*b, k, column])
                return te.sum(a.astype(total) * c.astype(total), axis=k)

            return te.compute([shape[axis] for axis in order], element, name="matmul")

        kernel = self.builder.call_te(
            compute,
            *(inputs[:1] if shared else inputs),
            primfunc_name_hint="matmul",
            primfunc_attrs={"op_pattern": int(OpPattern.OUT_FUSABLE)},
        )
        return self.emit(kernel, var.name)

    def operand(self, expr: Expr) -> Operand:
        """``expr`` as a view of one of this pass's expressions.

        What is narrowed behind a view is narrowed before it, once for all who read it.
        """
        cast = self.producer.get(expr)
        if cast is None or op_name(cast) != "astype":
            operand = trace_view(expr, self.producer)
            return replace(operand, source=self.substitute(operand.source))
        operand = trace_view(cast.args[0], self.producer)
        key = operand.source, dtype_of(expr)
        if key not in self.narrowed:
            narrow = relax.op.astype(self.substitute(operand.source), dtype_of(expr))
            self.narrowed[key] = self.emit(narrow, f"{expr.name}_narrow")
        return replace(operand, source=self.narrowed[key])


def _is_product(call: Expr) -> bool:
    if op_name(call) != "matmul" or any(const_value(arg) is not None for arg in call.args):
        return False
    left, right = call.args
    return (
        min(len(shape_of(left)), len(shape_of(right))) >= 2
        and dtype_of(left) in _MULTIPLIED
        and dtype_of(right) in _MULTIPLIED
        and 0 not in (*shape_of(left), *shape_of(right))
    )


def _element(tensor: Any, operand: Operand, shape: Sequence[int], at: Sequence[Any]) -> Any:
    """The element at ``at`` of ``operand``, matrices of a batch that is broadcast to ``shape``."""
    own = operand.view.shape
    here = at[len(at) - len(own) :]
    index = [
        0 if size == 1 and wanted != 1 else i
        for i, size, wanted in zip(here, own, shape[len(shape) - len(own) :], strict=True)
    ]
    return tensor[tuple(operand.view.index(index))]
