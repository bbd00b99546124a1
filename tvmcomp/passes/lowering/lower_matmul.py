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

from tvmcomp.passes.lowering.attention_pattern import Attention, find_attention
from tvmcomp.passes.lowering.operands import Operand, trace_operand, trace_view, view_through
from tvmcomp.passes.rewriter import (
    BindingRewriter,
    const_value,
    consumers,
    dtype_of,
    main_bindings,
    op_name,
    shape_of,
)
from tvmcomp.schedules.dot import MULTIPLIED
from tvmcomp.schedules.matmul.attention import AttentionShape, attention
from tvmcomp.schedules.matmul.batched_matmul import (
    MatmulShape,
    batched_matmul,
    packs_right,
    pads_columns,
)
from tvmcomp.schedules.matmul.output_axes import is_writable
from tvmcomp.schedules.matmul.register_tile import widest_vector
from tvmcomp.schedules.matmul.view import View
from tvmcomp.schedules.op_pattern import OpPattern
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Binding, Call, Expr, Module, Var

relax = tvm.relax
tirx = tvm.tirx


def lower_matmul(mod: Module, target: TargetDescription) -> Module:
    """Lower every matrix product of ``mod`` without a constant matrix on its right side."""
    return _LowerMatmul(mod, target).run()


@dataclass(frozen=True)
class _Tensors:
    """The TE tensors that stand for the sources of a kernel's operands."""

    sources: Sequence[Any]
    tensors: Sequence[Any]

    def element(self, operand: Operand, shape: Sequence[int]) -> Callable[..., Any]:
        """Gives an element of ``operand`` broadcast to ``shape``, at its indices."""
        tensor = next(
            tensor
            for source, tensor in zip(self.sources, self.tensors, strict=True)
            if source.same_as(operand.source)
        )
        view = operand.view.broadcast(shape)
        return lambda *at: tensor[tuple(view.index(at))]


@dataclass(frozen=True)
class _Kernel:
    """A kernel to emit: its name, what it reads, and what it computes of that."""

    name: str
    operands: Sequence[Operand]
    compute: Callable[[_Tensors], Any]


@dataclass(frozen=True)
class _Result:
    """A product's result as it is wanted: ``view`` of it, bound to ``var``."""

    var: Var
    view: View


class _LowerMatmul(BindingRewriter):
    def __init__(self, mod: Module, target: TargetDescription) -> None:
        super().__init__(mod)
        self.target = target
        bindings = main_bindings(mod) or []
        self.users = consumers(mod)
        self.producer = {binding.var: binding.value for binding in bindings}
        #: The variables that a kernel computes.
        self.kernels: dict[Any, _Kernel] = {}
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
        if var in self.kernels:
            return self.emit_kernel(self.kernels[var])
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

        def compute(tensors: _Tensors) -> Any:
            return batched_matmul(
                shape,
                tensors.element(left, (*batch, rows, depth)),
                tensors.element(right, (*batch, depth, columns)),
                result.view,
                packed,
                self.target,
            )

        self.plan(result.var, _Kernel(binding.var.name, (left, right), compute))

    def plan(self, var: Var, kernel: _Kernel) -> None:
        """Compute ``var`` by ``kernel``; what is traced back later ends there."""
        self.kernels[var] = kernel
        self.read.update(operand.source for operand in kernel.operands)
        self.producer.pop(var, None)

    def plan_attention(self, found: Attention) -> None:
        """Emit ``found`` as one kernel, where its sizes suit the vectors."""
        query, key = (trace_operand(arg, self.producer) for arg in (found.query, found.key))
        value = trace_view(found.value, self.producer)
        masks = [
            step.operand
            if isinstance(step.operand, float)
            else trace_view(step.operand, self.producer)
            for step in found.steps
        ]
        *batch, rows, width = shape_of(found.var)
        keys, depth = shape_of(found.key)[-1], shape_of(found.query)[-1]
        lanes = self.target.vector_bits // 32
        if rows < max(2, lanes // 2) or widest_vector(width, self.target) < min(4, lanes):
            return  # Most of each vector would be waste.
        shape = AttentionShape(tuple(batch), rows, keys, depth, width)
        result = self.wanted(found.var)
        self.inside.update(found.inside)

        def compute(tensors: _Tensors) -> Any:
            queries = tensors.element(query, (*batch, rows, depth))
            transposed_keys = tensors.element(key, (*batch, depth, keys))
            scale = query.scale * key.scale
            scores = (*batch, rows, keys)
            others = [
                mask if isinstance(mask, float) else tensors.element(mask, scores) for mask in masks
            ]

            def adjust(score: Any, *at: Any) -> Any:
                for step, other in zip(found.steps, others, strict=True):
                    number = (
                        tirx.const(other, "float32") if isinstance(other, float) else other(*at)
                    )
                    score = step.apply(score, number)
                return score

            return attention(
                shape,
                lambda *i: (
                    queries(*i) if scale == 1 else queries(*i) * tirx.const(scale, "float32")
                ),
                lambda *i: transposed_keys(*i[:-2], i[-1], i[-2]),
                tensors.element(value, (*batch, keys, width)),
                adjust,
                result.view,
                self.target,
            )

        operands = (query, key, value, *(mask for mask in masks if isinstance(mask, Operand)))
        self.plan(result.var, _Kernel(found.var.name, operands, compute))

    def emit_kernel(self, kernel: _Kernel) -> Any:
        """Bind a kernel's result. An operand that it reads in several ways is passed once."""
        sources: list[Any] = []
        for operand in kernel.operands:
            if not any(operand.source.same_as(source) for source in sources):
                sources.append(operand.source)

        def compute(*tensors: Any) -> Any:
            return kernel.compute(_Tensors(sources, tensors))

        call = self.builder.call_te(
            compute,
            *(self.substitute(source) for source in sources),
            primfunc_name_hint=kernel.name,
            primfunc_attrs={"op_pattern": int(OpPattern.OUT_FUSABLE)},
        )
        return self.emit(call, kernel.name)
