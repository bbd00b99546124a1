"""What a fused PrimFunc computes, block by block, in a form that is easy to generate loops from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Block, PrimExpr, Schedule, Var

tirx = tvm.tirx
Load = tvm.ir.expr.TensorLoad

#: An axis too short for vectors: the channels of a picture.
TINY = 3
#: An axis long enough to be worth vectors along it.
_LONG = 16

_SPATIAL = tvm.tirx.IterVar.DataPar
_REDUCE = tvm.tirx.IterVar.CommReduce


@dataclass(frozen=True)
class Axis:
    """A loop of a stage: its variable and how often it runs."""

    var: Any
    extent: int


@dataclass(frozen=True)
class Stage:
    """``buffer[dims] = value``, or ``buffer[dims] = combine over reduced of value``.

    Attributes:
        name: of the block.
        buffer: what it writes, one element for each point of ``dims``.
        dims: an axis for each dimension of ``buffer``, in order.
        reduced: the axes that are reduced; empty for an element-wise stage.
        value: the element, or what the reduction combines, in the axes' variables.
        combine: the reduction's operation on two elements; None without reduction.
        init: the constant that a reduction starts from.
        annotations: of its block, that its statement keeps.
    """

    name: str
    buffer: Any
    dims: tuple[Axis, ...]
    reduced: tuple[Axis, ...]
    value: Any
    combine: Callable[[Any, Any], Any] | None = None
    init: Any = None
    annotations: Mapping[str, Any] = field(default_factory=dict)

    @property
    def points(self) -> int:
        """How often ``value`` is computed."""
        return math.prod(axis.extent for axis in (*self.dims, *self.reduced))

    @property
    def contiguous(self) -> Axis | None:
        """The reduced axis that is contiguous in what the stage reads, if there is one.

        A row times a matrix reads the row along it, but the matrix across: that is one of sums
        along the result's last axis.
        """
        for load in loads(self.value):
            for axis in self.reduced:
                if axis.extent > 1 and load.indices and advances(load.indices[-1], axis.var):
                    return None if self._read_across(axis) else axis
        return None

    def _read_across(self, axis: Axis) -> bool:
        """Whether a load runs along the last axis of the result, and strides along ``axis``."""
        last = self.dims[self.last_long] if self.dims else None
        if last is None or last.extent < _LONG:
            return False
        return any(
            advances(load.indices[-1], last.var)
            and any(mentions(i, axis.var) for i in load.indices[:-1])
            for load in loads(self.value)
            if load.indices
        )

    @property
    def last_long(self) -> int:
        """The last axis of the result that runs more than once."""
        return max((i for i, axis in enumerate(self.dims) if axis.extent > 1), default=0)

    @property
    def own_rows(self) -> int:
        """The leading axes that are rows, where the stage stands alone: all but the axis that it
        is vectorized along, which may be two together."""
        if self.contiguous:
            return len(self.dims)
        last = self.last_long
        return last - 1 if last and self.dims[last].extent <= TINY else last

    @property
    def element_bits(self) -> int:
        """Width of the widest number that it computes with, indices aside."""
        widest = _bits(self.buffer)

        def see(node: Any) -> Any:
            nonlocal widest
            if isinstance(node, Load | tirx.Cast):
                widest = max(widest, _bits(node))
            return tvm_ffi.WalkResult.SKIP if isinstance(node, Load) else tvm_ffi.WalkResult.ADVANCE

        tvm_ffi.structural_walk(self.value, (tvm.ir.Expr, see), order="pre")
        return widest

    def lanes(self, target: TargetDescription) -> int:
        """Elements of a vector."""
        return max(1, target.vector_bits // self.element_bits)


def _bits(expr: PrimExpr) -> int:
    return max(8, int(tvm.DataType(str(expr.ty.dtype)).bits))


def loads(expr: PrimExpr) -> list[Any]:
    """Every load in ``expr``, those in the indices of other loads included."""
    found: list[Any] = []
    tvm_ffi.structural_walk(expr, (Load, found.append))
    return found


def substitute(expr: PrimExpr, values: dict[Any, Any]) -> Any:
    """``expr`` with variables replaced, the new values in the variables' types."""

    def replace(var: Var) -> Any:
        value = values.get(var)
        return var if value is None else value.astype(str(var.ty.dtype))

    return tvm_ffi.structural_map(expr, ((tvm.ir.Var, replace),))


def advances(index: PrimExpr, var: Var) -> bool:
    """Whether ``index`` grows by one with ``var``."""
    if index.same_as(var):
        return True
    if not mentions(index, var):
        return False
    one = tirx.const(1, var.ty.dtype)
    step = tvm.sym.Analyzer().simplify(substitute(index, {var: var + one}) - index)
    return isinstance(step, tirx.IntImm) and int(step) == 1


def mentions(expr: PrimExpr, var: Var) -> bool:
    """Whether ``var`` occurs in ``expr``."""
    found: list[Any] = []
    tvm_ffi.structural_walk(expr, (tvm.ir.Var, found.append))
    return any(node.same_as(var) for node in found)


def read_stages(sch: Schedule) -> list[Stage] | None:
    """The blocks of the function in ``sch`` in program order.

    Returns:
        None where a block is not of the simple form of a :class:`Stage`: several results at once,
        an update in place, a scan.
    """
    stages = []
    for block in sch.get_child_blocks(sch.get_sblock("root")):
        stage = _read(sch, block)
        if stage is None:
            return None
        stages.append(stage)
    return stages


def _read(sch: Schedule, block: Block) -> Stage | None:
    node = sch.get(block)
    realize = _realize(sch, block)
    if realize is None or node.alloc_buffers or node.match_buffers:
        return None
    axes: dict[Any, Axis] = {}
    kinds = {}
    for iv in node.iter_vars:
        if iv.iter_type not in (_SPATIAL, _REDUCE) or int(iv.dom.min) != 0:
            return None
        axes[iv.var] = Axis(iv.var, int(iv.dom.extent))
        kinds[iv.var] = iv.iter_type
    body = node.body
    if not isinstance(body, tirx.BufferStore):
        return None
    dims = []
    left = {var for var, kind in kinds.items() if kind == _SPATIAL}
    for index, extent in zip(body.indices, body.buffer.shape, strict=True):
        if isinstance(index, tvm.ir.Var) and index in left and axes[index].extent == int(extent):
            left.remove(index)
            dims.append(axes[index])
        elif isinstance(index, tirx.IntImm) and int(index) == 0 and int(extent) == 1:
            dims.append(Axis(tirx.Var("unit", index.ty.dtype), 1))
        else:
            return None
    if any(axes[var].extent > 1 for var in left):
        return None
    # A spatial axis of extent 1 that the result does not have is always 0.
    zeros = {var: tirx.const(0, var.ty.dtype) for var in left}
    reduced = tuple(axis for var, axis in axes.items() if kinds[var] == _REDUCE)
    if not reduced:
        if node.init is not None:
            return None
        return Stage(node.name_hint, body.buffer, tuple(dims), (), substitute(body.value, zeros))
    return _reduction(node, body, tuple(dims), reduced, zeros)


def _realize(sch: Schedule, block: Block) -> Any | None:
    """The realization of ``block``, where its loops are its axes one by one and unconditionally."""
    loops = [sch.get(loop) for loop in sch.get_loops(block)]
    node = sch.get(block)
    realize = loops[-1].body if loops else None
    if not isinstance(realize, tvm.s_tir.SBlockRealize) or not realize.block.same_as(node):
        return None
    if not (isinstance(realize.predicate, tirx.IntImm) and int(realize.predicate) == 1):
        return None
    serial = all(loop.kind == tirx.ForKind.SERIAL and int(loop.min) == 0 for loop in loops)
    extents = {loop.loop_var: int(loop.extent) for loop in loops}
    for iv, value in zip(node.iter_vars, realize.iter_values, strict=True):
        if isinstance(value, tvm.ir.Var):
            if extents.pop(value, None) != int(iv.dom.extent):
                return None
        elif not (isinstance(value, tirx.IntImm) and int(iv.dom.extent) == 1):
            return None
    return realize if serial and all(extent == 1 for extent in extents.values()) else None


_COMBINE: dict[type, Callable[[Any, Any], Any]] = {
    tirx.Add: lambda a, b: a + b,
    tirx.Mul: lambda a, b: a * b,
    tirx.Max: tirx.max,
    tirx.Min: tirx.min,
}


def _reduction(
    node: Any, body: Any, dims: tuple[Axis, ...], reduced: tuple[Axis, ...], zeros: dict[Any, Any]
) -> Stage | None:
    combine = _COMBINE.get(type(body.value))
    if combine is None or not isinstance(node.init, tirx.BufferStore):
        return None
    accumulator = tirx.BufferLoad(body.buffer, body.indices)
    for old, value in ((body.value.a, body.value.b), (body.value.b, body.value.a)):
        if tvm_ffi.structural_equal(old, accumulator, map_free_vars=False):
            return Stage(
                node.name_hint,
                body.buffer,
                dims,
                reduced,
                substitute(value, zeros),
                combine,
                node.init.value,
                _kept_annotations(node),
            )
    return None


def _kept_annotations(block: Any) -> dict[str, Any]:
    """What lowering makes statements of: the pragmas."""
    found = block.annotations.items() if block.annotations else ()
    return {str(key): value for key, value in found if str(key).startswith("pragma_")}
