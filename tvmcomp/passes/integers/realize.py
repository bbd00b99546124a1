"""Turn Q/DQ patterns into integer operators: the one pass between deciding and compiling.

    conv(dequantize(x), dequantize(w))         -> dequantize(conv_int32(x, w) + correction)
    matmul(dequantize(x), dequantize(y))       -> dequantize(matmul_int32(x, y) + correction)
    quantize(chain(dequantize(x)))             -> lookup table of the chain
    conv(x, dequantize(w))                     -> conv(x, w) * scale, with w read as int8
    recurrent(x, dequantize(w))                -> recurrent(x, w, scale), its state in 8 bits
    take(dequantize(table), rows)              -> take(table, rows) * take(scales, rows)
    mean, avg_pool (dequantize(x))             -> dequantize(sum_int32(x))
    quantize(reshape | concat | max_pool … (x)) -> the same operator on quantize(x)
    quantize(dequantize(x)) with equal parameters -> x

What matches no rule stays float, and is correct: ``dequantize`` and ``quantize`` are operators like
any other. The zero point's share of a convolution, ``-z * sum(w)``, is a constant added to the
int32 accumulator, and the bias with it; the activation and the next ``quantize`` follow in float
registers of the same kernel, rounding half to even.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tvmcomp.passes.elementwise import clip_bounds, unary_sources
from tvmcomp.passes.integers.activation_product import activation_product
from tvmcomp.passes.integers.depthwise_data import by_output
from tvmcomp.passes.integers.imported_qdq import came_quantized
from tvmcomp.passes.integers.integer_average import integer_average
from tvmcomp.passes.integers.integer_convolution import convolve, padded
from tvmcomp.passes.integers.output_steps import only_quantized, saturates
from tvmcomp.passes.integers.qdq import (
    dequantize_params,
    quantize_params,
    same_params,
    scalar_params,
    unify_activation_dtype,
)
from tvmcomp.passes.integers.quantized_constants import (
    real_bias,
    symmetric_weight,
    weight_by_row,
)
from tvmcomp.passes.integers.rescale import LARGEST_BIAS, combined_scale, rescale
from tvmcomp.passes.integers.table import evaluate_chain, lookup
from tvmcomp.passes.operator_kinds import AVERAGES, CONVOLUTIONS, PASS_THROUGH
from tvmcomp.passes.rewriter import (
    BindingRewriter,
    Constant,
    const,
    const_value,
    consumers,
    main_bindings,
    op_name,
    shape_of,
)
from tvmcomp.qparams import QParams, quantize
from tvmcomp.recurrent import RECURRENT, cell_of, in_integers
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr, Module, Var

relax = tvm.relax

#: How far an int32 bias that became float32 may be from a whole number: this, and relatively.
_UNIT, _FLOAT32 = 1e-3, 2.0**-22


def realize(mod: Module, target: TargetDescription) -> Module:
    """Apply the rules above to ``mod`` (NHWC, with Q/DQ), for the integer types of ``target``."""
    if main_bindings(mod) is None:
        return mod
    return _Realize(unify_activation_dtype(mod, target.activation_dtype), target).run()


class _Realize(BindingRewriter):
    def __init__(self, mod: Module, target: TargetDescription) -> None:
        super().__init__(mod)
        self.target = target
        #: Its numbers are another tool's, and are kept.
        self.imported = came_quantized(mod)
        bindings = main_bindings(mod) or []
        self.producer = {binding.var: binding.value for binding in bindings}
        self.source = unary_sources(bindings)
        self.users = consumers(mod)
        #: Additions of a bias that is part of its anchor's accumulator now.
        self.folded: set[Var] = set()
        #: Anchors whose result is counted in the steps of the ``quantize`` that reads it.
        self.in_steps: set[Any] = set()
        #: (new expression, parameters) -> its quantized form, so that readers share it.
        self.quantized: list[tuple[Any, QParams, Any]] = []

    def rewrite(self, var: Var, value: Expr) -> Expr:
        name = op_name(value)
        rules: dict[str, Callable[[Any, Any], Any | None]] = {
            "quantize": self.absorb_quantize,
            "dequantize": self.fold_dequantize,
            "add": self.add,
            "matmul": self.anchor,
            **dict.fromkeys(CONVOLUTIONS, self.anchor),
            **dict.fromkeys(AVERAGES, self.average),
            RECURRENT: self.recurrent,
            "take": self.embedding,
        }
        rule = rules.get(name) if name else None
        replaced = rule(var, value) if rule else None
        return replaced if replaced is not None else super().rewrite(var, value)

    # Anchors.

    def anchor(self, var: Var, call: Call) -> Expr | None:
        data = self.behind_dequantize(call.args[0])
        weight = symmetric_weight(self.producer.get(call.args[1]))
        if weight is None or (op_name(call) == "matmul" and weight[0].ndim != 2):
            return self.product(var, call)
        values, scale = weight
        matmul = op_name(call) == "matmul"
        params = by_output(data[1], call, len(values)) if data is not None else None
        if data is None or params is None:
            return self.weight_only(call, *weight, var.name)
        integers, zero_point = data[0], params.zero_point.astype(np.int64)
        name = var.name
        if matmul:
            acc = relax.op.matmul(integers, const(values), out_dtype="int32")
            sums = values.astype(np.int64).sum(axis=0)
        else:
            border = int(zero_point.reshape(-1)[0])
            integers, padding = padded(self.emit, integers, call.attrs, border, name)
            acc = convolve(call, integers, values, padding)
            sums = values.astype(np.int64).reshape(values.shape[0], -1).sum(axis=1)
        acc = self.emit(acc, name)
        combined = np.broadcast_to(scale.astype(np.float64) * params.scale, sums.shape)
        bias = -zero_point * sums + self.integer_bias(var, combined)
        output = self.only_quantized(var) if self.imported else None
        if output is not None:
            self.in_steps.add(var)
        scales = np.broadcast_to(scale, sums.shape)
        call = rescale(
            self.builder, acc, bias, sums,
            *combined_scale(scales, params.scale, None if output is None else output.scale),
            params.dtype, name, exact=self.imported,
        )  # fmt: skip
        return self.emit(call, f"{name}_real")

    def only_quantized(self, var: Var) -> QParams | None:
        """The parameters of the ``quantize`` that alone reads the result of an anchor."""
        return only_quantized(var, self.users, self.folded.__contains__)

    def product(self, var: Var, call: Call) -> Expr | None:
        """The product of two quantized activations; None for anything else."""
        if op_name(call) != "matmul":
            return None
        left, right = (self.dequantized(arg) for arg in call.args)
        if left is None or right is None:
            return None
        output = self.only_quantized(var)
        step = 1.0 if output is None else float(output.scale)
        if output is not None:
            self.in_steps.add(var)
        return activation_product(self.emit, *left, *right, step, self.target, var.name)

    def weight_only(self, call: Call, values: np.ndarray, scale: np.ndarray, name: str) -> Expr:
        """Float data times an int8 weight, whose scale follows: the weight takes a quarter."""
        data = self.substitute(call.args[0])
        if op_name(call) == "matmul":
            product = relax.op.matmul(data, const(values), out_dtype="float32")
        else:
            padding = [int(p) for p in call.attrs.padding]
            product = convolve(call, data, values, padding, "float32")
        product = self.emit(product, name)
        rank = len(shape_of(product))
        factor = scale if scale.size == 1 else scale.reshape((1,) * (rank - 1) + (-1,))
        return self.emit(relax.op.multiply(product, const(factor)), f"{name}_real")

    def integer_bias(self, anchor: Any, scale: np.ndarray) -> np.ndarray:
        """The bias that follows ``anchor``, in units of its accumulator; zero where there is none.

        The addition itself then becomes nothing. A bias too large for the accumulator stays a
        float addition, and so does an imported model's that is no whole number of units.
        """
        none = np.zeros(scale.shape, np.int64)
        readers = self.users[anchor]
        if len(readers) != 1 or readers[0] is None or op_name(readers[0].value) != "add":
            return none
        other = [arg for arg in readers[0].value.args if not arg.same_as(anchor)]
        bias = self.constant(other[0]) if len(other) == 1 else None
        if bias is None or bias.size != scale.size or bias.shape[-1:] not in ((), scale.shape):
            return none
        if shape_of(readers[0].var) != shape_of(anchor):
            return none  # The bias has more dimensions.
        exact = bias.reshape(-1).astype(np.float64) / scale
        units = np.rint(exact)
        if not (np.abs(units) < LARGEST_BIAS).all():
            return none
        if self.imported and (np.abs(units - exact) > _UNIT + _FLOAT32 * np.abs(exact)).any():
            return none  # Half a unit would be seen in the model's own result.
        self.folded.add(readers[0].var)
        return units.astype(np.int64)

    def constant(self, expr: Expr) -> np.ndarray | None:
        """The value of a constant, or of an imported model's dequantized one."""
        value = const_value(expr)
        call = self.producer.get(expr)
        if value is None and call is not None and op_name(call) == "dequantize":
            return real_bias(call)
        return value

    def add(self, var: Var, call: Call) -> Expr | None:
        """An addition whose constant went into the accumulator of its anchor."""
        if var not in self.folded:
            return None
        return self.substitute(self.anchor_of(var))

    def dequantized(self, expr: Expr) -> tuple[Any, QParams] | None:
        """The 8-bit tensor and scalar parameters behind a ``dequantize``, or None."""
        found = self.behind_dequantize(expr)
        return None if found is None or found[1].axis is not None else found

    def behind_dequantize(self, expr: Expr) -> tuple[Any, QParams] | None:
        """The 8-bit tensor and its parameters behind a ``dequantize``, or None."""
        call = self.producer.get(expr)
        if call is None or op_name(call) != "dequantize":
            return None
        params = dequantize_params(call)
        if params is None or params.dtype not in ("int8", "uint8"):
            return None
        return self.substitute(call.args[0]), params

    # Recurrent layers.

    def recurrent(self, var: Var, call: Call) -> Expr | None:
        """The layer in integers; None where its state may leave the range that it is rounded in."""
        weight = weight_by_row(self.producer.get(call.args[1]))
        if weight is None or not cell_of(call).is_bounded:
            return None
        return self.emit(in_integers(self.substitute(call), *weight), var.name)

    # Embeddings.

    def embedding(self, var: Var, call: Call) -> Expr | None:
        """Rows of an 8-bit table, dequantized after they are taken out."""
        dequantize = self.producer.get(call.args[0])
        if dequantize is None or call.attrs.axis is None or int(call.attrs.axis) != 0:
            return None
        table = weight_by_row(dequantize)
        if table is None:
            return None
        indices = self.substitute(call.args[1])

        def rows_of(array: np.ndarray, suffix: str) -> Any:
            taken = relax.Call(call.op, [const(array), indices], call.attrs)
            return self.emit(taken, f"{var.name}_{suffix}")

        values, scale = table
        rows = self.emit(relax.op.astype(rows_of(values, "rows"), "float32"), f"{var.name}_float")
        if (scale == scale[:1]).all():
            return self.emit(relax.op.multiply(rows, const(scale[:1])), var.name)
        scales = rows_of(scale.reshape(-1, *(1,) * (values.ndim - 1)), "scales")
        return self.emit(relax.op.multiply(rows, scales), var.name)

    # Averages.

    def average(self, var: Var, call: Call) -> Expr | None:
        data = self.dequantized(call.args[0])
        if data is None:
            return None
        return integer_average(self.emit, *data, var, call)

    # Quantize and dequantize themselves.

    def fold_dequantize(self, var: Var, call: Call) -> Expr | None:
        """A constant behind ``dequantize``, as a float constant."""
        bias = real_bias(call)
        return None if bias is None else const(bias)

    def absorb_quantize(self, var: Var, call: Call) -> Expr | None:
        """``quantize`` as a part of what makes its data; None where it is per channel."""
        params = quantize_params(call)
        if params is None or params.axis is not None or params.dtype not in ("int8", "uint8"):
            return None
        return self.in_integers(call.args[0], params, var.name)

    def in_integers(self, old: Any, params: QParams, name: str) -> Expr:
        """The integers of ``old``, an expression of the old function, for ``params``."""
        if isinstance(old, Constant):
            value = const_value(old)
            assert value is not None
            return const(quantize(value, params))
        new = self.substitute(old)
        for known, with_params, integers in self.quantized:
            if known.same_as(new) and same_params(with_params, params):
                return integers
        integers = self.quantized_form(old, params, name)
        self.quantized.append((new, params, integers))
        return integers

    def quantized_form(self, old: Any, params: QParams, name: str) -> Expr:
        inner = self.dequantized(old)
        if inner is not None and same_params(inner[1], params):
            return inner[0]
        call = self.producer.get(old)
        if call is not None and op_name(call) in PASS_THROUGH:
            moved = self.pass_through(call, params, name)
            if moved is not None:
                return moved
        root = self.source.get(old)
        if root is not None:
            inner = self.dequantized(root)
            if inner is not None:
                table = evaluate_chain(self.producer, root, old, inner[1], params)
                return self.emit(lookup(self.builder, inner[0], table, name), name)
        data = self.unclipped(old, params)
        if not data.same_as(old):
            return self.in_integers(data, params, name)  # It may be moved data.
        if self.anchor_of(data) in self.in_steps:
            params = replace(params, scale=np.ones((), np.float32))
        scale, zero_point = scalar_params(params)
        data = self.substitute(data)
        return self.emit(relax.op.quantize(data, scale, zero_point, -1, params.dtype), name)

    def anchor_of(self, expr: Expr) -> Expr:
        """What ``expr`` is but for a bias that went into it."""
        if expr not in self.folded:
            return expr
        return next(arg for arg in self.producer[expr].args if self.constant(arg) is None)

    def unclipped(self, expr: Expr, params: QParams) -> Expr:
        """``expr`` without the activations that saturation to 8 bits already does."""
        call = self.producer.get(expr)
        if call is None or len(self.users[expr]) != 1:
            return expr
        bounds = clip_bounds(call)
        if bounds is None:
            return expr
        if not saturates(bounds, params):
            return expr
        return self.unclipped(call.args[0], params)

    def pass_through(self, call: Call, params: QParams, name: str) -> Expr | None:
        """The same operator on quantized data, or None where it would not be exact."""
        kind = op_name(call)
        data = call.args[0]
        if kind == "image.resize2d" and str(call.attrs.method) != "nearest_neighbor":
            return None
        if kind == "split":
            return None
        if isinstance(data, relax.Tuple):
            fields = [
                self.in_integers(field, params, f"{name}_{i}")
                for i, field in enumerate(data.fields)
            ]
            return self.emit(relax.Call(call.op, [relax.Tuple(fields)], call.attrs), name)
        integers = self.in_integers(data, params, f"{name}_in")
        if kind == "nn.pad":
            if str(call.attrs.pad_mode) != "constant":
                return None
            fill = quantize(np.float32(float(call.attrs.pad_value)).reshape(1), params)
            return self.emit(
                relax.op.nn.pad(integers, call.attrs.pad_width, pad_value=int(fill[0])), name
            )
        rest = [self.substitute(arg) for arg in call.args[1:]]
        return self.emit(relax.Call(call.op, [integers, *rest], call.attrs, call.ty_args), name)
