"""What of an imported module is too large: to be compiled at all, or to be folded.

TVM folds every operator of constant operands, however large its result is and however long a
kernel without a schedule takes. Its operands become parameters until folding is over; then the
operator is computed when the network runs, as one of run-time operands would be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from tvmcomp.dtypes import numpy_dtype
from tvmcomp.frontend.onnx.limits import FOLDED_SUM, UNSCHEDULED_WORK, TensorLimits
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Binding, Expr, Module

relax = tvm.relax

#: Operators whose work is more than their results' elements.
_PRODUCTS = ("relax.matmul", "relax.nn.conv", "relax.call_tir")
#: Reductions, which a kernel without a schedule adds up one by one.
_REDUCTIONS = {"relax.sum", "relax.mean", "relax.prod", "relax.variance", "relax.cumsum"}


def check_sizes(mod: Module, limits: TensorLimits) -> None:
    """Refuse a module with a result that is too large or of too many dimensions.

    Raises:
        ModelError: naming the limit.
    """
    for binding in (each for block in mod["main"].body.blocks for each in block.bindings):
        for ty in _tensor_types(binding.var):
            item = numpy_dtype(str(ty.dtype)).itemsize
            limits.check(f"{binding.var.name!r}", _known_dims(ty), item)


def hide_from_folding(mod: Module, limits: TensorLimits) -> tuple[Any, dict[Any, Any]]:
    """Make constants of ``main`` parameters where folding exceeds the limits.

    Args:
        mod: a module whose ``main`` is one dataflow block.
        limits: of the model; they count what folding adds.

    Returns:
        The module, and the constants by the parameters that stand for them.
    """
    main = mod["main"]
    if len(main.body.blocks) != 1:  # nothing is computed
        return mod, {}
    (block,) = main.body.blocks
    producers = {binding.var: binding for binding in block.bindings}
    constant: set[Any] = set()  # variables that folding makes constants
    hidden: set[Any] = set()  # variables whose operands are to be hidden
    for binding in block.bindings:
        operands = list(_tensors(binding.value))
        if not operands or not all(_is_constant(each) or each in constant for each in operands):
            continue
        if _is_cheap(binding, operands, limits):
            constant.add(binding.var)
            continue
        # To what is a constant itself, and not another result.
        while not any(map(_is_constant, operands)):
            constant.discard(binding.var)
            binding = producers[operands[0]]
            operands = list(_tensors(binding.value))
        constant.discard(binding.var)
        hidden.add(binding.var)
    if not hidden:
        return mod, {}
    parameters: dict[Any, Any] = {}
    bindings = [
        relax.VarBinding(each.var, _with_parameters(each.value, parameters))
        if each.var in hidden
        else each
        for each in block.bindings
    ]
    body = relax.SeqExpr([relax.DataflowBlock(bindings)], main.body.body)
    mod = tvm.IRModule(mod.functions, attrs=mod.attrs)
    mod["main"] = relax.Function(
        [*main.params, *parameters], body, main.ret_ty, main.is_pure, main.attrs
    )
    return mod, parameters


def _is_cheap(binding: Binding, operands: list[Any], limits: TensorLimits) -> bool:
    before, after = sum(map(_elements, operands)), _elements(binding.var)
    name = getattr(getattr(binding.value, "op", None), "name", "")
    work = after
    if name in _REDUCTIONS and before > FOLDED_SUM * max(after, 1):
        return False
    if name.startswith(_PRODUCTS) and len(operands) > 1:
        # Two upper bounds of what it multiplies.
        work = min(math.prod(map(_elements, operands)), after * max(map(_elements, operands)))
    return work <= UNSCHEDULED_WORK and limits.may_fold(before, after)


def _tensors(expr: Expr) -> Iterator[Any]:
    """Yield the variables and constants of tensors that ``expr`` computes with."""
    if isinstance(expr, tvm.ir.Call):
        for argument in expr.args:
            yield from _tensors(argument)
    elif isinstance(expr, relax.Tuple):
        for field in expr.fields:
            yield from _tensors(field)
    elif isinstance(expr, relax.TupleGetItem):
        yield from _tensors(expr.tuple_value)
    elif _is_constant(expr) or isinstance(expr, relax.Var):
        yield expr


def _with_parameters(expr: Expr, parameters: dict[Any, Any]) -> Any:
    """Return ``expr`` with a parameter in place of each constant, and note them."""
    if _is_constant(expr):
        parameter = relax.Var(f"large_{len(parameters)}", expr.ty)
        parameters[parameter] = expr
        return parameter
    if isinstance(expr, relax.Tuple):
        return relax.Tuple([_with_parameters(field, parameters) for field in expr.fields])
    if isinstance(expr, tvm.ir.Call):
        arguments = [_with_parameters(argument, parameters) for argument in expr.args]
        return tvm.ir.Call(expr.op, arguments, expr.attrs, expr.ty_args, expr.span)
    return expr


def _is_constant(expr: Expr) -> bool:
    return isinstance(expr, tvm.ir.GenericConst)


def _elements(expr: Expr) -> int:
    return sum(math.prod(_known_dims(ty)) for ty in _tensor_types(expr))


def _tensor_types(expr: Expr) -> list[Any]:
    types = expr.ty.fields if isinstance(expr.ty, relax.TupleType) else [expr.ty]
    return [ty for ty in types if isinstance(ty, relax.TensorType) and ty.shape is not None]


def _known_dims(ty: Any) -> list[int]:
    """The dimensions that don't depend on data."""
    dims = ty.shape if isinstance(ty.shape, relax.ShapeExpr) else ()
    return [int(dim) for dim in dims if isinstance(dim, tvm.tirx.IntImm)]
