"""What a network is, before it is built: signature, operators, size, and what would be int8."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import msgspec

from tvmcomp.loops import is_loop
from tvmcomp.model import Model, Operator, Signature
from tvmcomp.passes.bodies import trips_of_bodies
from tvmcomp.passes.macs import macs
from tvmcomp.tvm_import import tvm

relax = tvm.relax


class Inspection(msgspec.Struct, frozen=True):
    """What ``tvmcomp inspect`` prints.

    Attributes:
        source: path of the model.
        digest: SHA-256 of the file.
        signature: inputs and outputs.
        operators: Relax operator (without ``relax.``) -> how many; those in a loop once.
        parameters: number of weights.
        parameter_bytes: their size in the model's own types.
        macs: multiply-accumulates of one inference; of a loop whose trips are bounded, at most.
        plan: what ``--quant int8`` would do with each operator.
    """

    source: str
    digest: str
    signature: Signature
    operators: dict[str, int]
    parameters: int
    parameter_bytes: int
    macs: int
    plan: list[Operator]


def inspect_model(model: Model, plan: list[Operator]) -> Inspection:
    """Count what is in ``model``; ``plan`` is the quantizer's, and passed through."""
    operators: Counter[str] = Counter()
    constants: dict[int, Any] = {}
    total = 0

    def visit(expr: Any, times: int) -> None:
        nonlocal total
        if is_loop(expr):
            return
        if isinstance(expr, tvm.ir.GenericConst):
            # A constant that several operators share is one parameter.
            constants[expr.value.__hash__()] = expr.value
        elif isinstance(expr, tvm.ir.Call) and isinstance(expr.op, tvm.ir.Op):
            operators[expr.op.name.removeprefix("relax.")] += 1
            total += times * macs(expr)

    for function, times in (("main", 1), *trips_of_bodies(model.mod).items()):
        relax.analysis.post_order_visit(model.mod[function], partial(visit, times=times))
    arrays = [value.numpy() for value in constants.values()]
    return Inspection(
        source=model.source,
        digest=model.digest,
        signature=model.signature,
        operators=dict(sorted(operators.items(), key=lambda item: (-item[1], item[0]))),
        parameters=sum(array.size for array in arrays),
        parameter_bytes=sum(array.nbytes for array in arrays),
        macs=total,
        plan=plan,
    )
