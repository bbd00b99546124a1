"""Keep joins of images, and parts of them, as kernels of their own.

Fused with what follows, a join would ask for every element which of its parts that comes from, and
no producer could write into its place. The kernels made here are taken away again, or become plain
copies, in :mod:`tvmcomp.passes.scheduled.in_place`.

    concat(conv(x), max_pool(y))  ->  join(conv(x), max_pool(y)), fused with nothing
    conv(split(x)[1])             ->  conv(part(x)), fused with nothing

A join of what no window produced (a rotation of attention's halves, a class token) stays as it is.
So does a part that only element-wise operators read: they read it in place by themselves.
"""

from __future__ import annotations

from typing import Any

from tvmcomp.passes.elementwise import ELEMENT_WISE
from tvmcomp.passes.operator_kinds import CONVOLUTIONS
from tvmcomp.passes.rewriter import (
    BindingRewriter,
    calls_any,
    consumers,
    main_bindings,
    op_name,
    shape_of,
)
from tvmcomp.schedules.op_pattern import OpPattern
from tvmcomp.schedules.rows.moves import JOIN, PART, join, part
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Binding, Call, Expr, Module, Var

relax = tvm.relax

#: What computes an image from windows of another.
_WINDOWS = frozenset(
    [
        *CONVOLUTIONS,
        "image.resize2d",
        *(
            f"nn.{kind}_pool{rank}d"
            for kind in ("max", "avg", "adaptive_max", "adaptive_avg")
            for rank in (1, 2, 3)
        ),
    ]
)
_MOVES = ("concat", "split", "strided_slice")
_THROUGH = ELEMENT_WISE | {"quantize", "dequantize"}


def keep_moves(mod: Module) -> Module:
    """Apply the rules above to ``mod`` (NHWC)."""
    return _KeepMoves(mod).run() if calls_any(mod, _MOVES) else mod


class _KeepMoves(BindingRewriter):
    def __init__(self, mod: Module) -> None:
        super().__init__(mod)
        bindings = main_bindings(mod) or []
        self.users = consumers(mod)
        self.producer = {binding.var: binding.value for binding in bindings}
        self.from_windows: set[Var] = set()
        for binding in bindings:
            if self.comes_from_windows(binding.value):
                self.from_windows.add(binding.var)

    def comes_from_windows(self, value: Expr) -> bool:
        """Whether a window computes some of ``value``, up to element-wise operators."""
        name = op_name(value)
        if name in _WINDOWS:
            return True
        through = name in _THROUGH or name in _MOVES
        if not through and not isinstance(value, relax.TupleGetItem):
            return op_name(value) == "call_tir" and any(
                var in self.from_windows for var in relax.analysis.free_vars(value.args[1])
            )
        return any(var in self.from_windows for var in relax.analysis.free_vars(value))

    def rewrite(self, var: Var, value: Expr) -> Expr:
        kept = self.join(var, value) if op_name(value) == "concat" else self.part(var, value)
        return super().rewrite(var, value) if kept is None else kept

    def join(self, var: Var, call: Call) -> Expr | None:
        parts = call.args[0]
        if var not in self.from_windows or not isinstance(parts, relax.Tuple):
            return None
        rank = len(shape_of(var))
        if call.attrs.axis is None or len(parts.fields) < 2 or 0 in shape_of(var):
            return None
        axis = int(call.attrs.axis) % rank
        sizes = [shape_of(field)[axis] for field in parts.fields]
        if 0 in sizes:
            return None
        new = self.builder.call_te(
            lambda *tensors: join(axis, *tensors),
            *(self.substitute(field) for field in parts.fields),
            primfunc_name_hint="join",
            primfunc_attrs={JOIN: [axis, *sizes], "op_pattern": int(OpPattern.OPAQUE)},
        )
        return self.emit(new, var.name)

    def part(self, var: Var, value: Expr) -> Expr | None:
        """The kernel of a part that a window reads, or a join."""
        if not any(reader and self.moves_or_windows(reader) for reader in self.users[var]):
            return None
        data, begin = self.begin_of(value)
        if data is None or 0 in shape_of(var):
            return None
        new = self.builder.call_te(
            lambda tensor: part(tensor, begin, shape_of(var)),
            self.substitute(data),
            primfunc_name_hint="part",
            primfunc_attrs={PART: begin, "op_pattern": int(OpPattern.OPAQUE)},
        )
        return self.emit(new, var.name)

    def moves_or_windows(self, reader: Binding) -> bool:
        kind = op_name(reader.value)
        moves = kind in _MOVES and reader.var in self.from_windows
        return kind in _WINDOWS or moves

    def begin_of(self, value: Expr) -> tuple[Any, list[int]]:
        """What ``value`` is a part of, and where that begins; (None, []) for anything else."""
        if isinstance(value, relax.TupleGetItem):
            split = self.producer.get(value.tuple_value)
            if split is None or op_name(split) != "split":
                return None, []
            shapes = [tuple(int(dim) for dim in ty.shape) for ty in value.tuple_value.ty.fields]
            axis = int(split.attrs.axis) % len(shapes[0])
            begin = [0] * len(shapes[0])
            begin[axis] = sum(shape[axis] for shape in shapes[: int(value.index)])
            return split.args[0], begin
        if op_name(value) == "strided_slice":
            return self.begin_of_slice(value)
        return None, []

    def begin_of_slice(self, call: Call) -> tuple[Any, list[int]]:
        data, axes, first, _, *rest = call.args
        found = [_integers(each) for each in (axes, first, *rest)]
        numbers = [each for each in found if each is not None]
        if len(numbers) < len(found) or any(step != 1 for steps in numbers[2:] for step in steps):
            return None, []
        shape = shape_of(data)
        begin = [0] * len(shape)
        for axis, index in zip(numbers[0], numbers[1], strict=True):
            size = shape[axis]
            begin[axis] = min(max(index + size if index < 0 else index, 0), size)
        return data, begin


def _integers(expr: Expr) -> list[int] | None:
    """The numbers of a tuple of constants; None where one is none."""
    if not isinstance(expr, relax.Tuple):
        return None
    values = [getattr(field, "value", field) for field in expr.fields]
    if not all(isinstance(value, int | tvm.tirx.IntImm) for value in values):
        return None
    return [int(value) for value in values]
