"""Insert quantize/dequantize around what a plan quantizes: all that later passes need to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tvmcomp.passes.rewriter import (
    BindingRewriter,
    const,
    const_value,
    consumers,
    op_name,
    with_attributes,
)
from tvmcomp.qparams import QParams
from tvmcomp.quantize.planned_operator import PlannedOperator
from tvmcomp.quantize.rounded_weight import RoundedWeight, nearest_weight, short_weight
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr, Module, Var

relax = tvm.relax


def annotate(
    mod: Module,
    operators: Sequence[PlannedOperator],
    qparams: Mapping[Var, QParams],
    rounded: Mapping[str, RoundedWeight] | None = None,
) -> Any:
    """Wrap each tensor that ``operators`` read, and each anchor's weight, in Q/DQ; store the
    tables of embeddings as int8.

    Args:
        mod: the float module that was planned.
        operators: the plan.
        qparams: for each tensor of the plan, its parameters.
        rounded: integers for weights, by the operator's name; the others get the nearest ones.

    Returns:
        A float module with ``relax.quantize``/``relax.dequantize`` in it.
    """
    return _Annotate(mod, operators, qparams, rounded or {}).run()


class _Annotate(BindingRewriter):
    def __init__(
        self,
        mod: Module,
        operators: Sequence[PlannedOperator],
        qparams: Mapping[Var, QParams],
        rounded: Mapping[str, RoundedWeight],
    ) -> None:
        super().__init__(mod)
        self.qparams = qparams
        self.rounded = rounded
        #: Additions of a constant bias to an anchor, and what that bias gets.
        self.corrections: dict[Var, tuple[Any, np.ndarray]] = {}
        self.users = consumers(mod)
        self.dequantized: dict[Var, Expr] = {}
        self.reads: dict[Any, list[Any]] = {}
        self.anchors = {
            op.var: op for op in operators if op.is_anchor or op.is_recurrent or op.stored
        }
        self.embeddings = {op.var: op for op in operators if op.is_embedding}
        for operator in operators:
            for reader in operator.readers:
                self.reads.setdefault(reader, []).extend(operator.reads)

    def rewrite(self, var: Var, value: Expr) -> Any:
        if var in self.embeddings:
            return self.embedding(value, self.embeddings[var])
        if var in self.corrections:
            return self.corrected_bias(var, value)
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
            if self.anchors[var].stored == "float32":
                args[1] = const(short_weight(weight, self.anchors[var]))
            else:
                args[1] = self.weight(weight, self.anchors[var])
        result = self.emit(relax.Call(value.op, args, value.attrs, value.ty_args), var.name)
        correction = self.correction_of(var)
        return result if correction is None else self.with_correction(var, result, correction)

    def correction_of(self, var: Var) -> np.ndarray | None:
        """What is to be added to an anchor's results, where its data are rounded too."""
        operator = self.anchors.get(var)
        if operator is None or operator.stored or operator.name not in self.rounded:
            return None
        return self.rounded[operator.name].correction

    def with_correction(self, var: Var, result: Expr, correction: np.ndarray) -> Any:
        """``result``; the correction goes into its constant bias, or else is added here."""
        readers = self.users[var]
        if len(readers) == 1 and readers[0] is not None and op_name(readers[0].value) == "add":
            bias = [const_value(arg) for arg in readers[0].value.args if not arg.same_as(var)]
            if bias and bias[0] is not None and bias[0].shape[-1:] == correction.shape:
                self.corrections[readers[0].var] = var, bias[0] + correction
                return result
        return self.emit(relax.op.add(result, const(correction)), f"{var.name}_corrected")

    def corrected_bias(self, var: Var, call: Call) -> Any:
        anchor, bias = self.corrections[var]
        args = [self.substitute(arg) if arg.same_as(anchor) else const(bias) for arg in call.args]
        return self.emit(relax.Call(call.op, args, call.attrs, call.ty_args), var.name)

    def through_integers(self, tensor: Expr) -> Any:
        params = self.qparams[tensor]
        scale, zero_point = const(params.scale), const(params.zero_point)
        if tensor not in self.dequantized:
            integers = self.emit(
                relax.op.quantize(self.substitute(tensor), scale, zero_point, -1, params.dtype),
                f"{tensor.name}_q",
            )
            # One for all readers: a chain that reads the tensor twice, x * f(x), has one root.
            self.dequantized[tensor] = self.emit(
                relax.op.dequantize(integers, scale, zero_point, -1), f"{tensor.name}_dq"
            )
        return self.dequantized[tensor]

    def half_precision(self, call: Call, data: Expr, weight: np.ndarray, name: str) -> Any:
        """The anchor with its weight stored as float16, where that holds it."""
        if np.abs(weight).max(initial=0) > np.finfo(np.float16).max:
            return self.emit(relax.Call(call.op, [data, const(weight)], call.attrs), name)
        attrs = with_attributes(call.attrs, out_dtype=tvm.runtime.DataType("float32"))
        return self.emit(relax.Call(call.op, [data, const(weight.astype(np.float16))], attrs), name)

    def weight(self, weight: np.ndarray, operator: PlannedOperator) -> Any:
        rounded = self.rounded.get(operator.name) or nearest_weight(weight, operator)
        params = rounded.params
        scale, zero_point = const(params.scale), const(params.zero_point)
        return self.emit(
            relax.op.dequantize(const(rounded.codes), scale, zero_point, params.axis),
            f"{operator.name}_weight",
        )

    def embedding(self, call: Call, operator: PlannedOperator) -> Any:
        """The same rows out of an int8 table, each times its scale.

        No Q/DQ pair: the scales are looked up like the rows, and only constants may be parameters
        of ``dequantize``.
        """
        table = const_value(call.args[0])
        assert table is not None
        name, rounded = operator.name, nearest_weight(table, operator)
        indices = self.substitute(call.args[1])

        def rows_of(array: np.ndarray, suffix: str) -> Any:
            taken = relax.Call(call.op, [const(array), indices], call.attrs)
            return self.emit(taken, f"{name}_{suffix}")

        rows = rows_of(rounded.codes, "rows")
        scales = rows_of(rounded.params.scale, "scales")
        real = self.emit(relax.op.astype(rows, "float32"), f"{name}_float")
        scales = self.emit(relax.op.expand_dims(scales, -1), f"{name}_scale")
        return self.emit(relax.op.multiply(real, scales), name)
