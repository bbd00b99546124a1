"""The one way our Relax passes rebuild a function: binding by binding, names kept."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Attributes, Binding, Expr, Module, Var

relax = tvm.relax
Constant = tvm.ir.expr.GenericConst
#: Calls of kernels: into new tensors, and into one of the operands.
CALLS = ("call_tir", "call_tir_inplace")


def op_name(expr: Expr) -> str | None:
    """``nn.conv2d`` for a call of ``relax.nn.conv2d``; None for anything but an operator call."""
    if isinstance(expr, tvm.ir.Call) and isinstance(expr.op, tvm.ir.Op):
        return str(expr.op.name).removeprefix("relax.")
    return None


def shape_of(expr: Expr) -> tuple[int, ...]:
    """The static shape of a tensor expression."""
    return tuple(int(dim) for dim in expr.ty.shape)


def dtype_of(expr: Expr) -> str:
    """The dtype of a tensor expression."""
    return str(expr.ty.dtype)


def const(array: np.ndarray) -> Any:
    """A Relax constant holding ``array``."""
    # ascontiguousarray would turn a scalar into a vector, and with it an immediate into a load.
    array = np.ascontiguousarray(array) if array.ndim else np.asarray(array)
    return relax.const(array, str(array.dtype))


def const_value(expr: Expr) -> np.ndarray | None:
    """The array of a Relax constant, or None for anything else."""
    return expr.value.numpy() if isinstance(expr, Constant) else None


def with_attributes(attrs: Attributes, **changes: Any) -> Any:
    """A copy of an operator's attributes with some of them changed."""
    info = type(attrs).__tvm_ffi_type_info__
    fields = {field.name: getattr(attrs, field.name) for field in info.fields}
    fields.update({key: value for key, value in changes.items() if key in fields})
    return tvm.ir.make_node(info.type_key, **fields)


def main_bindings(mod: Module) -> list[Module] | None:
    """The bindings of ``main`` in order; None where it has control flow.

    A module with control flow (ONNX ``If``) is compiled as it is: our passes leave it alone.
    """
    bindings = []
    for block in mod["main"].body.blocks:
        for binding in block.bindings:
            if not isinstance(binding, relax.VarBinding) or isinstance(binding.value, relax.If):
                return None
            bindings.append(binding)
    return bindings


def calls_any(mod: Module, operators: Collection[str]) -> bool:
    """Whether ``main`` calls one of ``operators``: to rebuild it for nothing is a third of what
    lowering takes."""
    return any(op_name(binding.value) in operators for binding in main_bindings(mod) or [])


def consumers(mod: Module) -> dict[Var, list[Binding]]:
    """For each variable of ``main``, the bindings that read it; the output reads as ``None``."""
    users: dict[Var, list[Binding]] = {param: [] for param in mod["main"].params}
    for binding in main_bindings(mod) or []:
        users.setdefault(binding.var, [])
        for var in relax.analysis.free_vars(binding.value):
            users.setdefault(var, []).append(binding)
    for var in relax.analysis.free_vars(mod["main"].body.body):
        users.setdefault(var, []).append(None)
    return users


class BindingRewriter:
    """Base of a pass over ``main``. A subclass overrides :meth:`rewrite`.

    Attributes:
        builder: emits new bindings (:meth:`emit` keeps the names readable).
        env: old variable -> new expression.
    """

    def __init__(self, mod: Module) -> None:
        self.mod = mod
        self.env: dict[Var, Expr] = {}
        #: Parameters that the pass adds after those of ``main``.
        self.added_params: list[Any] = []
        others = {var: func for var, func in mod.functions.items() if var.name_hint != "main"}
        self.builder = relax.BlockBuilder(tvm.IRModule(others))

    def run(self) -> Any:
        """The rewritten module; ``mod`` itself where ``main`` has control flow."""
        bindings = main_bindings(self.mod)
        if bindings is None:
            return self.mod
        main = self.mod["main"]
        bb = self.builder
        for param in main.params:
            self.env[param] = param
        params = [*main.params, *self.added_params]
        with bb.function("main", params, attrs=dict(main.attrs or {})):
            with bb.dataflow():
                for binding in bindings:
                    self.env[binding.var] = self.rewrite(binding.var, binding.value)
                output = bb.emit_output(self.result(main.body.body))
            bb.emit_func_output(output)
        return tvm.transform.Sequential(
            [relax.transform.CanonicalizeBindings(), relax.transform.DeadCodeElimination()]
        )(bb.get())

    def rewrite(self, var: Var, value: Expr) -> Expr:
        """The new expression for the binding ``var = value``; by default the same call."""
        return self.emit(self.substitute(value), var.name)

    def result(self, output: Expr) -> Expr:
        """The new output of the function."""
        return self.substitute(output)

    def substitute(self, value: Expr) -> Expr:
        """``value`` with the variables of the old function replaced by the new expressions."""
        return substitute(value, self.env)

    def emit(self, expr: Expr, name: str) -> Expr:
        """Bind ``expr`` to a variable called ``name``; what needs no binding passes through."""
        if isinstance(expr, Constant | relax.Var | relax.Tuple):
            return expr
        return self.builder.emit(expr, name_hint=name)


def substitute(value: Expr, env: dict[Var, Expr]) -> Expr:
    """Replace variables, by ``env``, in the shallow expressions that a binding holds."""
    if isinstance(value, relax.Var):
        return env.get(value, value)
    if isinstance(value, relax.Tuple):
        return relax.Tuple([substitute(field, env) for field in value.fields])
    if isinstance(value, relax.TupleGetItem):
        return relax.TupleGetItem(substitute(value.tuple_value, env), value.index)
    if isinstance(value, tvm.ir.Call):
        args = [substitute(arg, env) for arg in value.args]
        return relax.Call(value.op, args, value.attrs, value.ty_args, value.span)
    return value
