"""What a converter gives for a node, as the expressions of the node's outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.named_builder import NamedBuilder
from tvmcomp.frontend.onnx.node_facts import TensorFacts
from tvmcomp.frontend.onnx.values import TensorSequence, constant
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr

relax = tvm.relax


def outputs_of(named: NamedBuilder, result: Expr, name: str) -> list[Any]:
    """The outputs of a node called ``name``, whose converter's result may be a tuple or hold one.

    Raises:
        ValueError: it is no tensor.
    """
    if isinstance(result, relax.Tuple):
        return [named.flatten(field) for field in result.fields]
    result = _as_tensor(result)
    if not isinstance(result, tvm.ir.Expr):
        raise ValueError("its result is not a tensor")
    result = named.normalize(result)
    if not isinstance(result.ty, relax.TupleType):
        return [named.flatten(result)]
    if not is_leaf(result):
        result = named.emit(result, f"{name}__tuple")
    return [relax.TupleGetItem(result, i) for i in range(len(result.ty.fields))]


def is_static_tensor(value: Expr) -> bool:
    """Whether ``value`` is a tensor whose shape is known."""
    return (
        not isinstance(value, TensorSequence)
        and isinstance(value.ty, relax.TensorType)
        and isinstance(value.ty.shape, relax.ShapeExpr)
        and all(isinstance(dim, tvm.tirx.IntImm) for dim in value.ty.shape)
    )


def is_leaf(expr: Expr) -> bool:
    """Whether ``expr`` is a value that is bound already, or a constant."""
    return isinstance(expr, tvm.ir.Var | tvm.ir.GenericConst | TensorSequence)


def tensor_facts(value: Expr) -> TensorFacts:
    """What an error says of a tensor."""
    if isinstance(value, TensorSequence):
        return TensorFacts()
    if not isinstance(value.ty, relax.TensorType) or value.ty.shape is None:
        return TensorFacts()
    sizes = (int(dim) if isinstance(dim, tvm.tirx.IntImm) else None for dim in value.ty.shape)
    return TensorFacts(str(value.ty.dtype), tuple(sizes))


def _as_tensor(expr: Expr) -> Any:
    """Turn the shapes and scalars that TVM's converters compute with into constants."""
    if isinstance(expr, relax.ShapeExpr):
        return constant(np.array([int(dim) for dim in expr.values], "int64"))
    if isinstance(expr, tvm.tirx.IntImm | tvm.tirx.FloatImm):
        return relax.const(expr.value, str(expr.dtype))
    return expr
