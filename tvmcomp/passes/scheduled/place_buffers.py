"""Place a scheduled kernel's buffers inside larger ones, and fill the border around its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.schedules.anchor import READS_FLAT
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Buffer, Call, PrimExpr, PrimFunc

tirx = tvm.tirx

#: PrimFunc attribute of a kernel that writes a border around its result: the index of the result's
#: first element in the whole, then the result's shape.
BORDER = "tvmcomp.border"
#: PrimFunc attribute of the same: what the border holds.
BORDER_VALUE = "tvmcomp.border_value"


@dataclass(frozen=True)
class Placement:
    """Where a buffer lies inside a larger one.

    Attributes:
        offset: index of its first element in the larger buffer.
        shape: of the larger buffer.
    """

    offset: tuple[int, ...]
    shape: tuple[int, ...]


def place_buffers(func: PrimFunc, placements: Mapping[int, Placement]) -> Any:
    """``func`` with the parameters of ``placements``, by index, replaced by larger buffers."""
    new = {}
    for index, placement in placements.items():
        old = func.params[index]
        new[old] = (
            tirx.decl_buffer(placement.shape, old.ty.dtype, old.name, scope=old.scope()),
            placement.offset,
        )

    def load(node: Any) -> Any:
        if node.source not in new:
            return node
        buffer, offset = new[node.source]
        return tirx.BufferLoad(buffer, _shifted(node.indices, offset))

    def store(node: Any) -> Any:
        if node.buffer not in new:
            return node
        buffer, offset = new[node.buffer]
        return tirx.BufferStore(buffer, node.value, _shifted(node.indices, offset))

    def region(node: Any) -> Any:
        if node.source not in new:
            return node
        buffer, offset = new[node.source]
        ranges = [
            tvm.ir.Range.from_min_extent(r.min + o, r.extent)
            for r, o in zip(node.region, offset, strict=True)
        ]
        return tirx.BufferRegion(buffer, ranges)

    body = tvm_ffi.structural_map(
        func.body,
        (
            (tvm.ir.expr.TensorLoad, load),
            (tirx.BufferStore, store),
            (tvm.ir.expr.TensorRegion, region),
        ),
    )
    params = [new[p][0] if p in new else p for p in func.params]
    return tirx.PrimFunc(params, body, func.ret_type, attrs=func.attrs)


def addressed(func: PrimFunc) -> frozenset[int]:
    """The parameters of ``func``, by index, that can't be placed: it hands them on by address, or
    reads them from one row on into the next.
    """
    found: set[int] = set()

    def visit(call: Call) -> None:
        if getattr(call.op, "name", "") == "tirx.buffer_data":
            found.update(i for i, param in enumerate(func.params) if param.same_as(call.args[0]))

    def see(block: tvm.s_tir.SBlock) -> None:
        if READS_FLAT in block.annotations:
            data = block.reads[0].source
            found.update(i for i, param in enumerate(func.params) if param.same_as(data))

    tvm_ffi.structural_walk(func.body, ((tvm.ir.Call, visit), (tvm.s_tir.SBlock, see)))
    return frozenset(found)


def _shifted(indices: PrimExpr, offset: tuple[int, ...]) -> list[Any]:
    return [i + o if o else i for i, o in zip(indices, offset, strict=True)]


def fill_border(func: PrimFunc, inner: tuple[int, ...], placement: Placement, value: int) -> Any:
    """``func``, first setting what lies around its result to ``value``.

    Args:
        func: a kernel whose last parameter, of shape ``inner``, was placed by
            :func:`place_buffers`.
        inner: shape of the kernel's own result.
        placement: where it was placed.
        value: what the border holds.
    """
    buffer = func.params[-1]
    slabs = []
    begin, end = [0] * len(inner), list(placement.shape)
    # A slab before and one after each dimension; the later dimensions' lie between the earlier's.
    for d, (offset, size) in enumerate(zip(placement.offset, inner, strict=True)):
        for low, high in ((0, offset), (offset + size, placement.shape[d])):
            if high > low:
                slabs.append(([*begin[:d], low, *begin[d + 1 :]], [*end[:d], high, *end[d + 1 :]]))
        begin[d], end[d] = offset, offset + size
    fills = [_fill(buffer, low, high, value) for low, high in slabs]
    root = func.body.block
    block = tvm.s_tir.SBlock(
        root.iter_vars,
        root.reads,
        root.writes,
        root.name_hint,
        tirx.SeqStmt([*fills, root.body]),
        root.init,
        root.alloc_buffers,
        root.match_buffers,
        root.annotations,
    )
    body = tvm.s_tir.SBlockRealize(func.body.iter_values, func.body.predicate, block)
    return tirx.PrimFunc(func.params, body, func.ret_type, attrs=func.attrs)


def _fill(buffer: Buffer, begin: list[int], end: list[int], value: int) -> Any:
    """Loops that set ``buffer[begin:end]``."""
    variables = [tirx.Var(f"f{d}", "int64") for d in range(len(begin))]
    indices = [low + var for low, var in zip(begin, variables, strict=True)]
    stmt = tirx.BufferStore(buffer, tirx.const(value, buffer.ty.dtype), indices)
    for var, low, high in reversed(list(zip(variables, begin, end, strict=True))):
        stmt = tirx.For(
            var, tirx.const(0, "int64"), tirx.const(high - low, "int64"), tirx.ForKind.SERIAL, stmt
        )
    return stmt
