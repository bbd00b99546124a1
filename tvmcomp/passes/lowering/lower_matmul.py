"""Lower matrix products of two activations, and attention, to TE that reads through views.

    softmax(mask(query x key^T)) x value  ->  one attention kernel
    left x right                          ->  a batched product

What moves the operands before (heads split off, keys transposed, a joint projection sliced) and the
result after (heads joined) is folded into the kernel's indices: nothing is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvmcomp.passes.lowering.attention_operands import Tensors, TracedAttention, distinct
from tvmcomp.passes.lowering.attention_pattern import Attention, find_attention
from tvmcomp.passes.lowering.operands import Operand, trace_view, view_through
from tvmcomp.passes.lowering.store_bfloat16 import rounded
from tvmcomp.passes.rewriter import (
    BindingRewriter,
    calls_any,
    const_value,
    consumers,
    dtype_of,
    main_bindings,
    op_name,
    shape_of,
)
from tvmcomp.schedules.dot import MULTIPLIED
from tvmcomp.schedules.matmul.attention import attention
from tvmcomp.schedules.matmul.batched_matmul import (
    MatmulShape,
    batched_matmul,
    packs_right,
    pads_columns,
)
from tvmcomp.schedules.matmul.bfloat16_attention import bfloat16_attention
from tvmcomp.schedules.matmul.bfloat16_plan import AttentionPlan, plan_bfloat16_attention
from tvmcomp.schedules.matmul.output_axes import is_writable
from tvmcomp.schedules.matmul.register_tile import widest_vector
from tvmcomp.schedules.matmul.view import View
from tvmcomp.schedules.op_pattern import OpPattern
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Binding, Call, Expr, Module, Var

relax = tvm.relax
tirx = tvm.tirx


def lower_matmul(mod: Module, target: TargetDescription, half: str | None = None) -> Module:
    """Lower every matrix product of ``mod`` without a constant matrix on its right side.

    Args:
        mod: the module.
        target: the device.
        half: ``bfloat16`` to multiply so in attention, where ``target`` does.
    """
    return _LowerMatmul(mod, target, half).run() if calls_any(mod, ["matmul"]) else mod


@dataclass(frozen=True)
class _Kernel:
    """A kernel to emit: its name, what it reads, and what it computes of that."""

    name: str
    operands: Sequence[Operand]
    compute: Callable[[Tensors], Any]


@dataclass(frozen=True)
class _NarrowAttention:
    """An attention to emit in bfloat16, how it is cut, and its result's ``view`` that is wanted."""

    traced: TracedAttention
    plan: AttentionPlan
    view: View

    @property
    def operands(self) -> Sequence[Operand]:
        """What it reads."""
        return self.traced.operands


@dataclass(frozen=True)
class _Result:
    """A product's result as it is wanted: ``view`` of it, bound to ``var``."""

    var: Var
    view: View


class _LowerMatmul(BindingRewriter):
    def __init__(self, mod: Module, target: TargetDescription, half: str | None) -> None:
        super().__init__(mod)
        self.target, self.half = target, half
        bindings = main_bindings(mod) or []
        self.users = consumers(mod)
        self.producer = {binding.var: binding.value for binding in bindings}
        #: The variables that a kernel computes.
        self.kernels: dict[Any, _Kernel | _NarrowAttention] = {}
        #: Tensors in bfloat16, by their source.
        self.known_rounded: dict[Any, Any] = {}
        #: What a kernel computes on its way: nothing else reads it.
        self.inside: set[Var] = set()
        #: What kernels read: it stays, however its own producer's result is wanted.
        self.read: set[Var] = set()
        products = [b for b in bindings if self.is_product(b.value)]
        for binding in (b for b in products if dtype_of(b.var) == "float32"):
            found = find_attention(binding, self.is_product, self.producer, self.users)
            if found is not None:
                self.plan_attention(found)
        for binding in products:
            if binding.var not in self.inside and binding.var not in self.kernels:
                self.plan_matmul(binding)

    def rewrite(self, var: Var, value: Expr) -> Expr:
        if var in self.inside:
            return None
        kernel = self.kernels.get(var)
        if isinstance(kernel, _NarrowAttention):
            return self.emit_narrow(kernel)
        if kernel is not None:
            return self.emit_kernel(kernel)
        return super().rewrite(var, value)

    def is_product(self, call: Call) -> bool:
        """Whether ``call`` is a product for this pass: constant matrices are packed elsewhere."""
        if op_name(call) != "matmul":
            return False
        left, right = call.args
        weight = const_value(right)
        return (
            (weight is None or weight.ndim > 2)
            and min(len(shape_of(left)), len(shape_of(right))) >= 2
            and dtype_of(left) == dtype_of(right) == dtype_of(call)
            and dtype_of(call) in MULTIPLIED
            and 0 not in (*shape_of(left), *shape_of(right))
        )

    def wanted(self, var: Var, foldable: bool = True) -> _Result:
        """How the readers of the product ``var`` want it, and what it goes through on the way."""
        result = _Result(var, View.of(shape_of(var)))
        passed: list[Any] = []
        current, view = var, result.view
        while (
            foldable
            and current not in self.read
            and len(self.users[current]) == 1
            and self.users[current][0] is not None
        ):
            reader = self.users[current][0]
            through = view_through(reader.var, reader.value, view)
            if through is None:
                break
            passed.append(current)
            current, view = reader.var, through
            if is_writable(view):
                result = _Result(current, view)
                self.inside.update(passed)
                passed = []
        return result

    def plan_matmul(self, binding: Binding) -> None:
        """Emit ``binding`` as a batched product."""
        left, right = (trace_view(arg, self.producer) for arg in binding.value.args)
        *batch, rows, columns = shape_of(binding.var)
        depth = left.view.shape[-1]
        if columns == 1:
            return  # A matrix times a vector: TVM's reduction does as well.
        shape = MatmulShape(tuple(batch), rows, columns, depth, dtype_of(binding.var))
        packed = packs_right(shape, right.view.contiguous(len(right.view.dims) - 1), self.target)
        result = self.wanted(binding.var, not pads_columns(shape, packed, self.target))

        def compute(tensors: Tensors) -> Any:
            return batched_matmul(
                shape,
                tensors.element(left, (*batch, rows, depth)),
                tensors.element(right, (*batch, depth, columns)),
                result.view,
                packed,
                self.target,
            )

        self.plan(result.var, _Kernel(binding.var.name, (left, right), compute))

    def plan(self, var: Var, kernel: _Kernel | _NarrowAttention) -> None:
        """Compute ``var`` by ``kernel``; what is traced back later ends there."""
        self.kernels[var] = kernel
        self.read.update(operand.source for operand in kernel.operands)
        self.producer.pop(var, None)

    def plan_attention(self, found: Attention) -> None:
        """Emit ``found`` as one kernel, where its sizes suit the vectors."""
        traced = TracedAttention.of(found, self.producer)
        shape = traced.shape
        lanes = self.target.vector_bits // 32
        narrow = plan_bfloat16_attention(shape, self.target) if self.half == "bfloat16" else None
        width = shape.width if narrow is not None else widest_vector(shape.width, self.target)
        if shape.rows < max(2, lanes // 2) or width < min(4, lanes):
            return  # Most of each vector would be waste.
        result = self.wanted(found.var)
        self.inside.update(found.inside)
        if narrow is not None:
            self.plan(result.var, _NarrowAttention(traced, narrow, result.view))
            return

        def compute(tensors: Tensors) -> Any:
            of = traced.elements(tensors, scaled_scores=False)
            return attention(shape, of.query, of.key, of.value, of.adjust, result.view, self.target)

        self.plan(result.var, _Kernel(found.var.name, traced.operands, compute))

    def emit_narrow(self, kernel: _NarrowAttention) -> Any:
        """Bind the result of an attention in bfloat16."""
        traced, name = kernel.traced, kernel.traced.found.var.name
        sources = distinct(operand.source for operand in traced.operands)
        multiplied = [operand.source for operand in traced.multiplied]
        given = [
            self.rounded(self.substitute(source), f"{name}_rounded")
            if any(source.same_as(each) for each in multiplied)
            else self.substitute(source)
            for source in sources
        ]
        function = bfloat16_attention(
            kernel.plan,
            [(shape_of(each), dtype_of(each)) for each in given],
            lambda tensors: traced.elements(Tensors(sources, tensors), scaled_scores=True),
            kernel.view,
            self.target,
        )
        result = relax.TensorType(kernel.view.shape, "float32")
        return self.emit(relax.call_tir(self.builder.add_func(function, name), given, result), name)

    def rounded(self, data: Expr, name: str) -> Expr:
        """``data`` in bfloat16, for all who need it so."""
        if data not in self.known_rounded:
            self.known_rounded[data] = self.emit(rounded(self.builder, data, name), name)
        return self.known_rounded[data]

    def emit_kernel(self, kernel: _Kernel) -> Any:
        """Bind a kernel's result. An operand that it reads in several ways is passed once."""
        sources = distinct(operand.source for operand in kernel.operands)

        def compute(*tensors: Any) -> Any:
            return kernel.compute(Tensors(sources, tensors))

        call = self.builder.call_te(
            compute,
            *(self.substitute(source) for source in sources),
            primfunc_name_hint=kernel.name,
            primfunc_attrs={"op_pattern": int(OpPattern.OUT_FUSABLE)},
        )
        return self.emit(call, kernel.name)
