"""The plan as people read it: a line for each operator, in reports and in `tvmcomp inspect`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from tvmcomp import targets
from tvmcomp.block_weights import BLOCK_MATMUL
from tvmcomp.loops import LOOP
from tvmcomp.model import Operator
from tvmcomp.passes.bodies import as_main, trips_of_bodies
from tvmcomp.passes.integers.imported_qdq import quantize_in_layout
from tvmcomp.passes.integers.qdq import has_qdq
from tvmcomp.passes.macs import macs
from tvmcomp.passes.operator_kinds import ANCHORS
from tvmcomp.passes.pipeline import canonical
from tvmcomp.passes.rewriter import dtype_of, main_bindings, op_name
from tvmcomp.quantize.config import QuantConfig
from tvmcomp.quantize.imported import imported_operators
from tvmcomp.quantize.plan import plan_operators
from tvmcomp.quantize.planned_operator import PlannedOperator
from tvmcomp.quantize.reasons import IN_LOOP
from tvmcomp.tvm_types import Call, Module


def expected_operators(mod: Module, config: QuantConfig | None = None) -> list[Operator]:
    """What a calibrated int8 build of ``mod`` would quantize, before any measurement.

    Of a model that came quantized: what of it runs in integers, on this machine.

    Args:
        mod: float Relax as a frontend gives it.
        config: settings by operator.
    """
    mod = canonical(mod)
    if has_qdq(mod):
        return imported_operators(quantize_in_layout(mod), targets.detect())
    return report_operators(mod, plan_operators(mod, config))


def report_operators(
    mod: Module,
    operators: Sequence[PlannedOperator],
    own_db: dict[str, float] | None = None,
    alone_db: dict[str, float] | None = None,
    bodies: Mapping[str, Sequence[PlannedOperator]] | None = None,
) -> list[Operator]:
    """The plan as the build report lists it.

    Args:
        mod: the module that was planned.
        operators: the plan.
        own_db: SQNR of each operator's own result, in dB.
        alone_db: SQNR of the network with the operator alone quantized, in dB.
        bodies: plans of the bodies of loops, by their functions' names; without, they stay as they
            came.
    """
    calls = {binding.var: binding.value for binding in main_bindings(mod) or []}
    reported = [
        Operator(
            name=operator.name,
            kind=operator.kind,
            dtype="int8" if operator.quantized else _own_dtype(operator, calls[operator.var]),
            reason=None if _is_integer_product(calls[operator.var]) else operator.reason,
            sqnr_db=(own_db or {}).get(operator.name) if operator.quantized else None,
            network_sqnr_db=(alone_db or {}).get(operator.name),
            macs=macs(calls[operator.var]),
        )
        for operator in operators
        if operator.kind != LOOP
    ]
    return [*reported, *_in_loops(mod, bodies or {})]


def _in_loops(mod: Module, plans: Mapping[str, Sequence[PlannedOperator]]) -> Iterator[Operator]:
    """The operators of the bodies of loops."""
    for body, trips in trips_of_bodies(mod).items():
        view = as_main(mod, body)
        calls = {binding.var: binding.value for binding in main_bindings(view) or []}
        for operator in plans.get(body) or map(_unrounded, plan_operators(view)):
            call = calls[operator.var]
            if operator.kind != LOOP:
                yield Operator(
                    name=operator.name,
                    kind=operator.kind,
                    dtype="int8" if operator.quantized else _own_dtype(operator, call),
                    reason=None if _is_integer_product(call) else operator.reason,
                    macs=trips * macs(call),
                )


def _unrounded(operator: PlannedOperator) -> PlannedOperator:
    """As it came, since it is in a loop."""
    return replace(operator, quantized=False, reason=IN_LOOP)


def _own_dtype(operator: PlannedOperator, call: Call) -> str:
    """What the network itself, as it came, computes the operator in."""
    if op_name(call) == BLOCK_MATMUL:
        return f"{operator.float_dtype}, weights int4"
    return "int8" if _is_integer_product(call) else operator.float_dtype


def _is_integer_product(call: Call) -> bool:
    """Whether it multiplies integers of 8 bits, as ONNX's MatMulInteger does."""
    return op_name(call) in ANCHORS and all(
        dtype_of(operand) in ("int8", "uint8") for operand in call.args[:2]
    )
