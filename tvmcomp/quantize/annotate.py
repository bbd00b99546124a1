"""Insert quantize/dequantize around what a plan quantizes: all that later passes need to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tvmcomp.passes.rewriter import BindingRewriter, const, const_value, with_attributes
from tvmcomp.qparams import QParams, quantize, weight_qparams
from tvmcomp.quantize.planned_operator import PlannedOperator
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr, Module, Var

relax = tvm.relax

#: One scale for each row of an embedding's table.
EMBEDDING_AXIS = 0


def weight_axis(kind: str) -> int:
    """The output-channel axis of an anchor's weight: ``[O, *K, I]``, or ``[K, N]`` of a matmul; of
    a recurrent layer's its rows."""
    return 1 if kind == "matmul" else 0


def annotate(
    mod: Module, operators: Sequence[PlannedOperator], qparams: Mapping[Var, QParams]
) -> Any:
    """Wrap each tensor that ``operators`` read, and each anchor's weight, in Q/DQ; store the
    tables of embeddings as int8.

    Args:
        mod: the float module that was planned.
        operators: the plan.
        qparams: for each tensor of the plan, its parameters.

    Returns:
        A float module with ``relax.quantize``/``relax.dequantize`` in it.
    """
    return _Annotate(mod, operators, qparams).run()


class _Annotate(BindingRewriter):
    def __init__(
        self, mod: Module, operators: Sequence[PlannedOperator], qparams: Mapping[Var, QParams]
    ) -> None:
        super().__init__(mod)
        self.qparams = qparams
        self.quantized: dict[Var, Expr] = {}
        self.reads: dict[Any, list[Any]] = {}
        self.anchors = {
            op.var: op for op in operators if op.is_anchor or op.is_recurrent or op.stored
        }
        self.embeddings = {operator.var for operator in operators if operator.is_embedding}
        for operator in operators:
            for reader in operator.readers:
                self.reads.setdefault(reader, []).extend(operator.reads)

    def rewrite(self, var: Var, value: Expr) -> Any:
        if var in self.embeddings:
            return self.embedding(value, var.name)
        if var not in self.reads and var not in self.anchors:
            return super().rewrite(var, value)
        args = []
        for arg in value.args:
            if any(arg.same_as(tensor) for tensor in self.reads.get(var, ())):
                args.append(self.through_integers(arg))
            else:
                args.append(self.substitute(arg))
        if var in self.anchors:
            weight = const_value(value.args[1])
            assert weight is not None
            if self.anchors[var].stored == "float16":
                return self.half_precision(value, args[0], weight, var.name)
            args[1] = self.weight(weight, self.anchors[var])
        return self.emit(relax.Call(value.op, args, value.attrs, value.ty_args), var.name)

    def through_integers(self, tensor: Expr) -> Any:
        params = self.qparams[tensor]
        scale, zero_point = const(params.scale), const(params.zero_point)
        if tensor not in self.quantized:
            self.quantized[tensor] = self.emit(
                relax.op.quantize(self.substitute(tensor), scale, zero_point, -1, params.dtype),
                f"{tensor.name}_q",
            )
        return self.emit(
            relax.op.dequantize(self.quantized[tensor], scale, zero_point, -1),
            f"{tensor.name}_dq",
        )

    def half_precision(self, call: Call, data: Expr, weight: np.ndarray, name: str) -> Any:
        """The anchor with its weight stored as float16, where that holds it."""
        if np.abs(weight).max(initial=0) > np.finfo(np.float16).max:
            return self.emit(relax.Call(call.op, [data, const(weight)], call.attrs), name)
        attrs = with_attributes(call.attrs, out_dtype=tvm.runtime.DataType("float32"))
        return self.emit(relax.Call(call.op, [data, const(weight.astype(np.float16))], attrs), name)

    def weight(self, weight: np.ndarray, operator: PlannedOperator) -> Any:
        axis = weight_axis(operator.kind)
        params = weight_qparams(weight, axis)
        integers = const(quantize(weight, params))
        return self.emit(
            relax.op.dequantize(integers, const(params.scale), const(params.zero_point), axis),
            f"{operator.name}_weight",
        )

    def embedding(self, call: Call, name: str) -> Any:
        """The same rows out of an int8 table, each times its scale.

        No Q/DQ pair: the scales are looked up like the rows, and only constants may be parameters
        of ``dequantize``.
        """
        table = const_value(call.args[0])
        assert table is not None
        params = weight_qparams(table, EMBEDDING_AXIS)
        indices = self.substitute(call.args[1])

        def rows_of(array: np.ndarray, suffix: str) -> Any:
            taken = relax.Call(call.op, [const(array), indices], call.attrs)
            return self.emit(taken, f"{name}_{suffix}")

        rows = rows_of(quantize(table, params), "rows")
        scales = rows_of(params.scale, "scales")
        real = self.emit(relax.op.astype(rows, "float32"), f"{name}_float")
        scales = self.emit(relax.op.expand_dims(scales, -1), f"{name}_scale")
        return self.emit(relax.op.multiply(real, scales), name)
