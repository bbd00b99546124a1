"""Which tensors lie inside larger ones: the plan of :mod:`tvmcomp.passes.scheduled.in_place`.

The rules, for a module of scheduled kernels:

1. Joins are looked at from the last to the first: a larger one that repeats a smaller comes later.
2. A join whose parts lie one after the other in a larger whole is a place in that whole. So is one
   that is a part of a larger join along the same axis. Any other has a whole of its own.
3. A part of a join is written in its place by the kernel that computes it, where that has one
   result, knows no addresses, and all who read it can read a place in a whole.
4. A part that a kernel takes out of a tensor lies in that tensor, if all can read it there; with a
   border of its own only where that is a piece of the tensor's border.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tvmcomp.passes.rewriter import consumers, dtype_of, main_bindings, op_name, shape_of
from tvmcomp.passes.scheduled.place_buffers import BORDER, BORDER_VALUE, addressed
from tvmcomp.schedules.conv.padding import FREE_BEHIND
from tvmcomp.schedules.rows.moves import JOIN, PART
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Binding, Module, PrimExpr, Var

relax = tvm.relax
Offset = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Whole:
    """A tensor that others lie in.

    Attributes:
        shape, dtype: its own.
        source: the variable of the old function that it is; None for a join's.
        begin, inner: where what was joined begins, and its shape; around it lies a border.
        fill: what the border holds.
    """

    shape: tuple[int, ...]
    dtype: str
    source: Any
    begin: Offset
    inner: tuple[int, ...]
    fill: int = 0


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: the index of its first element in a whole."""

    whole: Whole
    offset: Offset

    def within(self, offset: Offset) -> Place:
        """What lies at ``offset`` of what lies here."""
        return Place(self.whole, tuple(a + b for a, b in zip(self.offset, offset, strict=True)))


@dataclass
class Plan:
    """Where tensors lie.

    Attributes:
        places: variable -> its place; what is missing is a tensor of its own.
        joins: result of a join -> its parts, each with its place in the whole.
        parts: variables that no kernel computes any more.
    """

    places: dict[Any, Place] = field(default_factory=dict)
    joins: dict[Any, list[tuple[Any, Place]]] = field(default_factory=dict)
    parts: set[Any] = field(default_factory=set)


def plan_places(mod: Module) -> Plan:
    """Apply the rules above to ``mod``."""
    return _Planner(mod).plan()


def kernel_of(mod: Module, value: PrimExpr) -> Any | None:
    """The scheduled kernel that ``value`` calls, or None for anything else."""
    if op_name(value) != "call_tir" or not isinstance(value.ty_args[0], relax.TensorType):
        return None
    func = mod[value.args[0]]
    return func if isinstance(func.body, tvm.s_tir.SBlockRealize) else None


class _Planner:
    def __init__(self, mod: Module) -> None:
        self.mod = mod
        self.bindings = main_bindings(mod) or []
        self.users: Mapping[Any, list[Any]] = consumers(mod)
        self.kernels = {b.var: kernel_of(mod, b.value) for b in self.bindings}
        self.result = Plan()
        #: (whole, offset) -> what lies there; a join may lie where its first part does.
        self.lies: dict[tuple[Whole, Offset], list[Any]] = {}

    def plan(self) -> Plan:
        for binding in reversed(self.bindings):
            sizes = self.attribute(binding.var, JOIN)
            if sizes:
                self.join(binding, sizes)
        for binding in self.bindings:
            begin = self.attribute(binding.var, PART)
            if begin is not None and binding.var not in self.result.places:
                self.part(binding, begin)
        return self.result

    def attribute(self, var: Var, name: str) -> Offset | None:
        """A list of numbers that the kernel which computes ``var`` has for an attribute."""
        kernel = self.kernels.get(var)
        found = kernel.attrs.get(name) if kernel is not None and kernel.attrs else None
        return None if found is None else tuple(int(number) for number in found)

    def join(self, binding: Binding, sizes: Offset) -> None:
        var, (axis, *lengths) = binding.var, sizes
        fields = list(binding.value.args[1].fields)
        shape = list(shape_of(var))
        border = self.attribute(var, BORDER)
        begin = border[: len(shape)] if border else (0,) * len(shape)
        inner = border[len(shape) :] if border else tuple(shape)
        for part, length in zip(fields, lengths, strict=True):
            if shape_of(part) != (*inner[:axis], length, *inner[axis + 1 :]):
                return  # It has a border of its own.
        place = self.result.places.get(var) or self.repeated(var, fields, axis, border)
        if place is None:
            value = self.attribute(var, BORDER_VALUE)
            fill = value[0] if value else 0
            whole = Whole(tuple(shape), dtype_of(var), None, begin, inner, fill)
            place = Place(whole, begin)
        self.result.places[var] = place
        parts, along = [], 0
        for part, length in zip(fields, lengths, strict=True):
            there = place.within(tuple(along if d == axis else 0 for d in range(len(shape))))
            parts.append((part, there))
            self.lies.setdefault((there.whole, there.offset), []).append(part)
            if self.writes_in_place(part):
                self.result.places[part] = there
            along += length
        self.result.joins[var] = parts

    def repeated(self, var: Var, fields: list[Any], axis: int, border: Offset | None) -> Any | None:
        """Where a larger whole has ``fields`` one after the other along ``axis``; None: nowhere."""
        if border or not self.reads_anywhere(var):
            return None
        for whole, offset in self.lies:
            at = list(offset)
            for part in fields:
                found = self.lies.get((whole, tuple(at)), ())
                if not any(part.same_as(other) for other in found):
                    break
                at[axis] += shape_of(part)[axis]
            else:
                return Place(whole, offset)
        return None

    def writes_in_place(self, part: Any) -> bool:
        """Whether the kernel that computes ``part`` can write it into a whole (rule 3)."""
        kernel = self.kernels.get(part) if isinstance(part, relax.Var) else None
        if kernel is None or part in self.result.places or not self.reads_anywhere(part):
            return False
        if self.attribute(part, BORDER) or self.attribute(part, PART) is not None:
            return False
        return len(kernel.params) - 1 not in addressed(kernel) and not _is_view(kernel)

    def reads_anywhere(self, var: Any) -> bool:
        """Whether all who read ``var`` can read it as a place in a whole."""
        return all(user is not None and self.reads_place(user, var) for user in self.users[var])

    def reads_place(self, user: Binding, var: Any) -> bool:
        kernel = self.kernels[user.var]
        if kernel is None:
            return False
        if self.attribute(user.var, JOIN):
            return True
        indices = [i for i, arg in enumerate(user.value.args[1].fields) if var.same_as(arg)]
        return not addressed(kernel).intersection(indices) and not _is_view(kernel)

    def part(self, binding: Binding, begin: Offset) -> None:
        data = binding.value.args[1].fields[0]
        if not isinstance(data, relax.Var) or not self.reads_anywhere(binding.var):
            return
        shape = shape_of(data)
        zeros = (0,) * len(shape)
        around = self.result.places.get(data)
        if around is None:
            around = Place(Whole(shape, dtype_of(data), data, zeros, shape), zeros)
        elif data in self.result.joins and self.attribute(data, BORDER):
            around = Place(around.whole, zeros)  # Its parts are counted from its border on.
        before = self.border_in(binding.var, data, begin)
        if before is None:
            return
        first = tuple(b - extra for b, extra in zip(begin, before, strict=True))
        self.result.places[binding.var] = around.within(first)
        self.result.parts.add(binding.var)

    def border_in(self, part: Any, data: Any, begin: Offset) -> Offset | None:
        """The elements before ``part`` in its border, where that is a piece of the border around
        ``data``, in which the part begins at ``begin``; None where it would have to be copied."""
        own, around = self.attribute(part, BORDER), self.attribute(data, BORDER)
        rank = len(begin)
        if own is None:
            return (0,) * rank
        kernel = self.kernels[part]
        free_behind = bool(kernel is not None and kernel.attrs.get(FREE_BEHIND, False))
        around_value = self.attribute(data, BORDER_VALUE)
        for d in range(rank):
            before, inner = own[d], own[rank + d]
            after = shape_of(part)[d] - before - inner
            if free_behind and d == rank - 1 and not before:
                if begin[d] + inner + after > shape_of(data)[d]:
                    return None
                continue
            if not before and not after:
                continue
            if around is None or self.attribute(part, BORDER_VALUE) != around_value:
                return None
            ends = begin[d] + inner, around[d] + around[rank + d]
            if before and not (begin[d] == around[d] >= before):
                return None
            if after and not (ends[0] == ends[1] <= shape_of(data)[d] - after):
                return None
        return own[:rank]


def _is_view(kernel: Any) -> bool:
    """Whether TVM makes a view of what ``kernel`` copies."""
    return bool(relax.analysis.has_reshape_pattern(kernel))
