"""Put the Q/DQ of an imported model where ``realize`` looks for them: next to their readers.

    permute(dequantize(quantize(x)))  -> dequantize(quantize(permute(x))), and reshape likewise
    permute(dequantize(weight))       -> dequantize(permuted weight), and reshape likewise
    dequantize(int32 bias)            -> float bias, and its reshape folded

The layout operators between are our own (NHWC, or a sequence as the rows of one matrix), a Gemm's
``transB``, or the directions of a recurrent weight. Values don't change. The module is marked: its
numbers are another tool's, and are kept to the unit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tvmcomp.passes.rewriter import (
    BindingRewriter,
    Constant,
    const,
    const_value,
    dtype_of,
    op_name,
    shape_of,
)
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr, Module, Var

relax = tvm.relax
#: Attribute of a ``main`` that came with its Q/DQ.
_IMPORTED = "tvmcomp.imported_qdq"


def quantize_in_layout(mod: Module) -> Module:
    """Apply the rules above to ``mod`` (NHWC, with the Q/DQ that it was imported with)."""
    moved = _QuantizeInLayout(mod).run()
    main = moved.get_global_var("main")
    return tvm.IRModule({**moved.functions, main: moved[main].with_attr(_IMPORTED, True)})


def came_quantized(mod: Module) -> bool:
    """Whether the Q/DQ of ``mod`` is what it was imported with, as :func:`quantize_in_layout`
    knows; else it is what this build decided."""
    attributes = mod["main"].attrs
    return bool(attributes and attributes.get(_IMPORTED))


class _QuantizeInLayout(BindingRewriter):
    def __init__(self, mod: Module) -> None:
        super().__init__(mod)
        #: What each new variable of interest was bound to.
        self.calls: dict[Var, Expr] = {}
        #: New variable -> what it is a reshape of.
        self.reshaped: dict[Var, Expr] = {}

    def rewrite(self, var: Var, value: Expr) -> Expr:
        name = op_name(value)
        replaced = None
        if name == "dequantize":
            replaced = self.bias(value)
        elif name in ("permute_dims", "reshape"):
            replaced = self.move(var, value, name)
        result = replaced if replaced is not None else super().rewrite(var, value)
        if isinstance(result, relax.Var):
            if name in ("quantize", "dequantize"):
                self.calls[result] = self.substitute(value)
            elif name == "reshape" and replaced is None:
                self.reshaped[result] = self.unshaped(self.substitute(value.args[0]))
        return result

    def unshaped(self, source: Expr) -> Expr:
        """What a reshape reads that reads ``source``: of several the last one counts."""
        return self.reshaped.get(source, source)

    def bias(self, call: Call) -> Expr | None:
        """The float constant that an int32 constant stands for."""
        values, scale, zero_point = (const_value(arg) for arg in call.args[:3])
        if values is None or scale is None or zero_point is None or values.dtype != np.int32:
            return None
        shape = [1] * values.ndim
        if scale.size > 1:
            shape[int(call.attrs.axis)] = scale.size
        real = (values - zero_point.reshape(shape if zero_point.size > 1 else ())).astype("float32")
        return const(real * scale.astype("float32").reshape(shape if scale.size > 1 else ()))

    def move(self, var: Var, call: Call, name: str) -> Expr | None:
        """The layout operator ``call`` applied to what a ``dequantize`` reads."""
        source = self.substitute(call.args[0])
        if name == "reshape":
            source = self.unshaped(source)
        if isinstance(source, Constant):
            return const(self.moved(const_value(source), var, call, name))
        dequantize = self.calls.get(source)
        if dequantize is None or op_name(dequantize) != "dequantize":
            return None
        integers, scale, zero_point = dequantize.args[:3]
        per_tensor = shape_of(scale) in ((), (1,))
        axis = _moved_axis(int(dequantize.attrs.axis), shape_of(source), call, name, shape_of(var))
        if axis is None and not per_tensor:
            return None
        place = -1 if per_tensor or axis is None else axis
        if isinstance(integers, Constant):
            new: Any = const(self.moved(const_value(integers), var, call, name))
        else:
            quantize = self.calls.get(integers)
            if quantize is None:
                return None
            data = quantize.args[0]
            moved = self.emit(
                relax.op.reshape(data, shape_of(var))
                if name == "reshape"
                else relax.op.permute_dims(data, _axes(call)),
                var.name,
            )
            call = relax.op.quantize(moved, *quantize.args[1:3], place, dtype_of(integers))
            new = self.bound(call, f"{var.name}_quantized")
        return self.bound(relax.op.dequantize(new, scale, zero_point, place), f"{var.name}_real")

    def bound(self, call: Call, name: str) -> Expr:
        """A variable of ``call``, a quantize or dequantize that may be moved further."""
        result = self.emit(call, name)
        self.calls[result] = call
        return result

    def moved(self, values: Any, var: Var, call: Call, name: str) -> np.ndarray:
        if name == "reshape":
            return np.reshape(values, shape_of(var))
        return np.transpose(values, _axes(call))


def _moved_axis(
    axis: int, before: tuple[int, ...], call: Call, name: str, shape: tuple[int, ...]
) -> int | None:
    """Where ``axis`` of what ``call`` moves, of the shape ``before``, lies in its result of
    ``shape``; None: nowhere."""
    axis %= max(len(before), 1)
    if name == "permute_dims":
        return _axes(call).index(axis)
    for place, size in enumerate(shape):
        same = math.prod(shape[:place]) == math.prod(before[:axis])
        if same and axis < len(before) and size == before[axis]:
            return place
    return None


def _axes(call: Call) -> list[int]:
    rank = len(shape_of(call.args[0]))
    axes = call.attrs.axes
    return [int(axis) % rank for axis in axes] if axes is not None else [*range(rank)][::-1]
