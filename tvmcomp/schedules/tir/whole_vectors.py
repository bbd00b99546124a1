"""Where a loop of vectors ends inside one, the others stay vectors.

A schedule splits a loop of 53 channels into vectors of 8 under the condition that a channel is one
of the 53. TVM gives up a vector whose lanes have a condition, for all of the loop:

    for lane in vectorized(8):             if vector * 8 + 7 < 53:
        if vector * 8 + lane < 53:             for lane in vectorized(8): …
        …                              ->  else:
                                               for lane in unrolled(8):
                                                   if vector * 8 + lane < 53
                                                   …

So is a store of ``if_then_else(condition, value, 0)``: the lanes that don't fulfil it are stored
before the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.schedules.stages import loads, mentions, substitute
from tvmcomp.schedules.tir.masked_vectors import can_be_masked, can_mask, marked
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module, PrimExpr, PrimFunc, Var

tirx = tvm.tirx


@tirx.transform.prim_func_pass(opt_level=0, name="tvmcomp.WholeVectors")  # type: ignore[untyped-decorator]
def whole_vectors(func: PrimFunc, _mod: Module, _context: Any) -> Any:
    """Take the conditions out of the whole vectors of ``func``, which is about to be vectorized."""
    loops: list[Any] = []
    if can_mask(func):
        tvm_ffi.structural_walk(func.body, (tirx.For, loops.append))
    return func.with_body(
        tvm_ffi.structural_map(func.body, ((tirx.For, lambda loop: _apart(loop, loops)),))
    )


def _apart(loop: Any, loops: Sequence[Any]) -> Any:
    """``loop`` in two, where it is of vectors that may end inside one; ``loops`` is empty where the
    target has no masks."""
    if loop.kind != tirx.ForKind.VECTORIZED:
        return loop
    guarded, rest = _guarded(loop)
    if guarded is None:
        return loop
    lane, conditions = loop.loop_var, list(_conjuncts(guarded.condition))
    of_lane = [each for each in conditions if mentions(each, lane)]
    whole = [_for_all(each, lane, loop.extent) for each in of_lane]
    if guarded.else_case is not None or not whole or any(each is None for each in whole):
        return loop
    others = [each for each in conditions if not mentions(each, lane)]
    body = guarded.then_case
    if others:
        body = tirx.IfThenElse(tirx.all(*others), body, None)
    vectors = tirx.For(lane, loop.min, loop.extent, loop.kind, body)
    last = _masked(guarded.then_case, loop, of_lane, loops) if loops else None
    if last is not None and others:
        last = tirx.IfThenElse(tirx.all(*others), last, None)
    if last is not None and rest is not None and not others:
        last = tirx.SeqStmt([rest, last])
    apart = tirx.IfThenElse(tirx.all(*whole), vectors, last or _one_by_one(loop))
    return tirx.SeqStmt([rest, apart]) if rest is not None and others else apart


def _guarded(loop: Any) -> tuple[Any, Any]:
    """What ``loop`` does under a condition, and what it does before in all lanes; None for each
    that there is not."""
    body = loop.body
    if isinstance(body, tirx.IfThenElse):
        return body, None
    if not isinstance(body, tirx.BufferStore) or not _is_choice(body.value):
        return None, None
    condition, value, other = body.value.args
    if not isinstance(other, tirx.IntImm | tirx.FloatImm):
        return None, None
    if any(load.source.same_as(body.buffer) for load in loads(value)):
        return None, None  # It reads what would be written before.
    lane = tirx.Var(loop.loop_var.name, str(loop.loop_var.ty.dtype))
    indices = [substitute(index, {loop.loop_var: lane}) for index in body.indices]
    store = tirx.BufferStore(body.buffer, other, indices)
    rest = tirx.For(lane, loop.min, loop.extent, loop.kind, store)
    chosen = tirx.BufferStore(body.buffer, value, body.indices)
    return tirx.IfThenElse(condition, chosen, None), rest


def _is_choice(value: Any) -> bool:
    op = value.op if isinstance(value, tvm.ir.Call) else None
    return str(getattr(op, "name", "")).rpartition(".")[2] == "if_then_else"


def _one_by_one(loop: Any) -> Any:
    other = tirx.Var(loop.loop_var.name, str(loop.loop_var.ty.dtype))
    # Unrolled: accumulators that an index picks at run time would leave their registers.
    body = substitute(loop.body, {loop.loop_var: other})
    return tirx.For(other, loop.min, loop.extent, tirx.ForKind.UNROLLED, body)


def _masked(body: Any, loop: Any, conditions: Sequence[Any], loops: Sequence[Any]) -> Any | None:
    """The vector of ``body`` in the lanes that fulfil the condition; None where that can't be."""
    lane, lanes = loop.loop_var, int(loop.extent)
    if len(conditions) != 1 or _step(conditions[0], lane) != 1:
        return None
    if not can_be_masked(body, lane, lanes, loops):
        return None
    zero = tirx.const(0, lane.ty.dtype)
    left = substitute(conditions[0].b - conditions[0].a, {lane: zero}).astype("int32")
    other = tirx.Var(lane.name, str(lane.ty.dtype))
    body = substitute(body, {lane: other})
    vector = tirx.For(other, loop.min, loop.extent, loop.kind, body)
    return marked(tvm.sym.Analyzer().simplify(left), vector, _one_by_one(loop))


def _conjuncts(condition: PrimExpr) -> Iterator[PrimExpr]:
    if isinstance(condition, tirx.And):
        yield from _conjuncts(condition.a)
        yield from _conjuncts(condition.b)
    else:
        yield condition


def _for_all(condition: PrimExpr, lane: Var, lanes: PrimExpr) -> PrimExpr | None:
    """``condition`` at the lane that fulfils it last; None where that is not known."""
    step = _step(condition, lane)
    if step is None:
        return None
    last = lanes - tirx.const(1, lane.ty.dtype) if step > 0 else tirx.const(0, lane.ty.dtype)
    return substitute(condition, {lane: last})


def _step(condition: PrimExpr, lane: Var) -> int | None:
    """How much nearer to failing ``condition`` is at each next lane; None: not known."""
    if not isinstance(condition, tirx.LT):
        return None
    excess = condition.a - condition.b
    one = tirx.const(1, lane.ty.dtype)
    step = tvm.sym.Analyzer().simplify(substitute(excess, {lane: lane + one}) - excess)
    return int(step) if isinstance(step, tirx.IntImm) else None
