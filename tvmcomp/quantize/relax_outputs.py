"""The parts of a Relax network's outputs: see :mod:`tvmcomp.quantize.output_parts`."""

from __future__ import annotations

from typing import Any

from tvmcomp.passes.rewriter import main_bindings, op_name, shape_of
from tvmcomp.quantize.output_parts import Joined, Part, Reshaped, Step, Transposed, output_parts
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module

relax = tvm.relax


def parts_of_outputs(mod: Module) -> list[list[Part]]:
    """The parts of each output of ``main``, in order, without a sample axis."""
    values: dict[Any, Any] = {binding.var: binding.value for binding in main_bindings(mod) or []}

    def value_of(expr: Any) -> Any:
        while expr in values and isinstance(values[expr], relax.Var):
            expr = values[expr]
        return values.get(expr, expr)

    def made_by(expr: Any) -> Step[Any]:
        value = value_of(expr)
        name = op_name(value)
        if name == "concat" and isinstance(value_of(value.args[0]), relax.Tuple):
            fields = list(value_of(value.args[0]).fields)
            axis = int(value.attrs.axis) % len(shape_of(fields[0]))
            return Joined(axis, fields, [shape_of(field)[axis] for field in fields])
        if name == "permute_dims":
            rank = len(shape_of(value.args[0]))
            axes = value.attrs.axes or range(rank - 1, -1, -1)
            return Transposed(value.args[0], [int(axis) % rank for axis in axes])
        if name in ("reshape", "expand_dims", "squeeze", "flatten"):
            return Reshaped(value.args[0], shape_of(value.args[0]), shape_of(value))
        return None

    output = mod["main"].body.body
    if isinstance(value_of(output), relax.Tuple):
        outputs = list(value_of(output).fields)
        return [output_parts(each, len(shape_of(each)), made_by) for each in outputs]
    if isinstance(output.ty, relax.TupleType):  # a recurrent layer's
        return [[(slice(None),) * len(field.shape)] for field in output.ty.fields]
    return [output_parts(output, len(shape_of(output)), made_by)]


def tensors_of_outputs(mod: Module) -> list[Any]:
    """What the outputs of ``main`` are, a tuple's fields one by one."""
    values = {binding.var: binding.value for binding in main_bindings(mod) or []}
    output = mod["main"].body.body
    while output in values and isinstance(values[output], relax.Var | relax.Tuple):
        output = values[output]
    return list(output.fields) if isinstance(output, relax.Tuple) else [output]
