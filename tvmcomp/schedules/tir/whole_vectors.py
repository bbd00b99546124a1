"""Where a loop of vectors ends inside one, the others stay vectors.

A schedule splits a loop of 53 channels into vectors of 8 under the condition that a channel is one
of the 53. TVM gives up a vector whose lanes have a condition, for all of the loop:

    for lane in vectorized(8):             if vector * 8 + 7 < 53:
        if vector * 8 + lane < 53:             for lane in vectorized(8): …
        …                              ->  else:
                                               for lane in unrolled(8):
                                                   if vector * 8 + lane < 53
                                                   …
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.schedules.stages import mentions, substitute
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module, PrimExpr, PrimFunc, Var

tirx = tvm.tirx


@tirx.transform.prim_func_pass(opt_level=0, name="tvmcomp.WholeVectors")  # type: ignore[untyped-decorator]
def whole_vectors(func: PrimFunc, _mod: Module, _context: Any) -> Any:
    """Take the conditions out of the whole vectors of ``func``, which is about to be vectorized."""
    return func.with_body(tvm_ffi.structural_map(func.body, ((tirx.For, _apart),)))


def _apart(loop: Any) -> Any:
    guarded = loop.body
    if loop.kind != tirx.ForKind.VECTORIZED or not isinstance(guarded, tirx.IfThenElse):
        return loop
    lane, conditions = loop.loop_var, list(_conjuncts(guarded.condition))
    whole = [_for_all(each, lane, loop.extent) for each in conditions if mentions(each, lane)]
    if guarded.else_case is not None or not whole or any(each is None for each in whole):
        return loop
    others = [each for each in conditions if not mentions(each, lane)]
    body = guarded.then_case
    if others:
        body = tirx.IfThenElse(tirx.all(*others), body, None)
    other = tirx.Var(lane.name, str(lane.ty.dtype))
    # Unrolled: accumulators that an index picks at run time would leave their registers.
    return tirx.IfThenElse(
        tirx.all(*whole),
        tirx.For(lane, loop.min, loop.extent, loop.kind, body),
        tirx.For(
            other,
            loop.min,
            loop.extent,
            tirx.ForKind.UNROLLED,
            substitute(guarded, {lane: other}),
        ),
    )


def _conjuncts(condition: PrimExpr) -> Iterator[PrimExpr]:
    if isinstance(condition, tirx.And):
        yield from _conjuncts(condition.a)
        yield from _conjuncts(condition.b)
    else:
        yield condition


def _for_all(condition: PrimExpr, lane: Var, lanes: PrimExpr) -> PrimExpr | None:
    """``condition`` at the lane that fulfils it last; None where that is not known."""
    if not isinstance(condition, tirx.LT):
        return None
    excess = condition.a - condition.b
    one = tirx.const(1, lane.ty.dtype)
    step = tvm.sym.Analyzer().simplify(substitute(excess, {lane: lane + one}) - excess)
    if not isinstance(step, tirx.IntImm):
        return None
    last = lanes - one if int(step) > 0 else tirx.const(0, lane.ty.dtype)
    return substitute(condition, {lane: last})
