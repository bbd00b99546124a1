"""When a loop is worth running on several threads.

Waking the threads and waiting for them costs a few µs, and more the more there are. Work is
measured in vector instructions, of which a core does about one a cycle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.schedules.blocking import Decide
from tvmcomp.schedules.stages import Stage
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Block, Loop, PrimExpr, Schedule

tirx = tvm.tirx

#: Below so many vector instructions (some 5 µs) one thread is faster.
GRAIN = 16_384

#: So many times more or less work leaves no doubt.
_DOUBT = 16

#: Bytes a cycle of weights that no cache close to the core holds.
_WEIGHT_BYTES = 8

#: Vector instructions of the operators that take more than one.
_DEAR = {"exp": 20, "log": 24, "erf": 20, "tanh": 20, "sigmoid": 24, "sqrt": 8, "rsqrt": 12,
         "pow": 200, "sin": 60, "cos": 60, "tan": 80}  # fmt: skip
_DIVISION = 8
_ARITHMETIC = (tirx.Add, tirx.Sub, tirx.Mul, tirx.Max, tirx.Min, tirx.Select, tirx.Cast)


def worth_parallel(work: float) -> bool:
    """Whether ``work`` vector instructions are worth more than one thread."""
    return work >= GRAIN


def parallelize(
    sch: Schedule, loops: Sequence[Loop], work: float, decide: Decide | None = None
) -> None:
    """Fuse ``loops`` of ``sch`` and run them on all threads, where ``work`` is worth it.

    Args:
        sch: the schedule.
        loops: neighbouring loops, outermost first.
        work: vector instructions of all their iterations together.
        decide: answers whether it is, where that is in doubt.
    """
    worth = worth_parallel(work)
    if decide is not None:
        in_doubt = GRAIN / _DOUBT <= work <= GRAIN * _DOUBT
        worth = bool(decide(sch, "parallel", [0, 1] if in_doubt else [int(worth)], int(worth)))
    if loops and worth:
        sch.parallel(sch.fuse(*loops))


def anchor_work(sch: Schedule, block: Block, target: TargetDescription) -> float:
    """About how many vector instructions the anchor ``block`` takes on ``target``.

    Its operands are the last two tensors that it reads. Each is counted as a weight: what is large
    arrives more slowly than it can be multiplied.
    """
    node = sch.get(block)
    operands = [access.source for access in node.reads[-2:]]
    bits = min(tvm.DataType(operand.dtype).bits for operand in operands)
    products = math.prod(int(iv.dom.extent) for iv in node.iter_vars)
    size = sum(math.prod(int(dim) for dim in operand.shape) for operand in operands)
    return products * bits / target.vector_bits + size * bits / 8 / _WEIGHT_BYTES


def work_of(stage: Stage, target: TargetDescription) -> float:
    """About how many vector instructions ``stage`` takes on ``target``."""
    vectors = stage.points * stage.element_bits / target.vector_bits
    return vectors * instructions(stage.value)


def instructions(expr: PrimExpr) -> int:
    """About how many vector instructions one vector of ``expr`` takes, a store included."""
    count = 1

    def see(node: Any) -> Any:
        nonlocal count
        if isinstance(node, tvm.ir.expr.TensorLoad):
            count += 1
            return tvm_ffi.WalkResult.SKIP  # what indices take is hoisted, or scalar
        if isinstance(node, tirx.Div):
            count += _DIVISION
        elif isinstance(node, _ARITHMETIC):
            count += 1
        elif isinstance(node, tvm.ir.Call) and isinstance(node.op, tvm.ir.Op):
            count += _DEAR.get(str(node.op.name).removeprefix("tirx."), 1)
        return tvm_ffi.WalkResult.ADVANCE

    tvm_ffi.structural_walk(expr, (tvm.ir.Expr, see), order="pre")
    return count
