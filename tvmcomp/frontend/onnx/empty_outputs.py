"""Outputs without elements are made when the network runs: TVM can't load a constant of none."""

from __future__ import annotations

from typing import Any

from tvmcomp.frontend.onnx.values import dtype_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Module

relax = tvm.relax


def with_made_empties(mod: Module) -> Any:
    """``mod`` whose outputs that are constants without elements are calls of ``relax.zeros``."""
    main = mod["main"]
    result = main.body.body
    fields = list(result.fields) if isinstance(result, relax.Tuple) else [result]
    values = {
        binding.var: binding.value for block in main.body.blocks for binding in block.bindings
    }
    if len(fields) == 1 and isinstance(values.get(result), relax.Tuple):
        fields = list(values[result].fields)
    if not any(_is_empty(values.get(field, field)) for field in fields):
        return mod
    builder = relax.BlockBuilder()
    with builder.function("main", main.params):
        with builder.dataflow():
            for block in main.body.blocks:
                for binding in block.bindings:
                    if not isinstance(binding.value, relax.Tuple):
                        builder.emit_normalized(relax.VarBinding(binding.var, binding.value))
            made = [_made(builder, field, values) for field in fields]
            output = builder.emit_output(relax.Tuple(made) if len(made) > 1 else made[0])
        builder.emit_func_output(output)
    new = builder.get()
    mod = tvm.IRModule(mod.functions, attrs=mod.attrs)
    mod["main"] = new["main"].with_attrs(dict(main.attrs))
    return mod


def _made(builder: Builder, field: Expr, values: dict[Any, Any]) -> Any:
    value = values.get(field, field)
    if _is_empty(value):
        return builder.emit(relax.op.zeros(shape_of(value), dtype_of(value)))
    return field


def _is_empty(expr: Expr) -> bool:
    return isinstance(expr, tvm.ir.GenericConst) and 0 in shape_of(expr)
