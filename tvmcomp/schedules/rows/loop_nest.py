"""Statements of TIR: loops, vector loops that cover any length, temporary arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr

tirx = tvm.tirx

SERIAL = tirx.ForKind.SERIAL
PARALLEL = tirx.ForKind.PARALLEL
UNROLLED = tirx.ForKind.UNROLLED
VECTORIZED = tirx.ForKind.VECTORIZED

Body = Callable[[Any], Any]
_INDEX = "int64"  # TVM narrows it where that does


def index(value: int) -> Any:
    """``value`` as an index."""
    return tirx.const(value, _INDEX)


def loop(extent: int, body: Body, kind: Any = SERIAL, name: str = "i") -> Any:
    """A loop over 0 to ``extent - 1``; a loop that runs once is just its body."""
    if extent == 1:
        return body(index(0))
    var = tirx.Var(name, _INDEX)
    return tirx.For(var, index(0), index(extent), kind, body(var))


def nest(extents: Sequence[int], body: Callable[[list[Any]], Any], kind: Any = SERIAL) -> Any:
    """Loops around each other, ``body`` given their variables."""
    if not extents:
        return body([])
    first, *rest = extents
    return loop(first, lambda var: nest(rest, lambda inner: body([var, *inner]), kind), kind)


def unravel(at: PrimExpr, extents: Sequence[int]) -> list[Any]:
    """The indices in a shape of ``extents`` of the element ``at`` in row-major order."""
    position: list[Any] = []
    for extent in reversed(extents):
        if extent == 1:
            position.append(index(0))
            continue
        inner = math.prod(extents[len(extents) - len(position) :])
        outer = tirx.floordiv(at, index(inner)) if inner > 1 else at
        is_first = inner * extent == math.prod(extents)
        position.append(outer if is_first else tirx.floormod(outer, index(extent)))
    return position[::-1]


def sequence(statements: Sequence[Any]) -> Any:
    """Statements one after the other."""
    return statements[0] if len(statements) == 1 else tirx.SeqStmt(list(statements))


def tails(extent: int, lanes: int) -> list[tuple[int, int]]:
    """(offset, width) of the ever shorter vectors that cover what whole vectors leave."""
    offset, found = extent - extent % lanes, []
    width = lanes // 2
    while offset < extent:
        if offset + width <= extent:
            found.append((offset, width))
            offset += width
        width //= 2
    return found


def vector(width: int, body: Body) -> Any:
    """``body`` for 0 to ``width - 1`` at once."""
    return loop(width, body, VECTORIZED, "lane")


def vectors(extent: int, lanes: int, body: Body, kind: Any = SERIAL) -> Any:
    """``body`` for 0 to ``extent - 1``, in vectors of ``lanes`` and then shorter ones."""
    pieces = [_piece(body, index(offset), width) for offset, width in tails(extent, lanes)]
    if extent >= lanes:
        whole = extent // lanes
        pieces.insert(0, loop(whole, lambda c: _piece(body, c * lanes, lanes), kind, "block"))
    return sequence(pieces)


def _piece(body: Body, base: Any, width: int) -> Any:
    return vector(width, lambda lane: body(base + lane))


def array(shape: Sequence[int], dtype: str, name: str) -> Any:
    """A temporary array, for :func:`with_arrays` to allocate."""
    return tirx.decl_buffer([index(size) for size in shape] or [index(1)], dtype, name)


def with_arrays(arrays: Sequence[Any], body: Any) -> Any:
    """``body`` with temporary arrays of its own."""
    if not arrays:
        return body
    block = tvm.s_tir.SBlock([], [], [], "arrays", body, alloc_buffers=list(arrays))
    return tvm.s_tir.SBlockRealize([], tirx.const(True, "bool"), block)
