"""Recognize attention: ``softmax(adjusted(query x key^T)) x value``.

What adjusts the scores (scaling, an additive mask, a choice by a mask) is any chain of element-wise
steps with one other operand each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tvmcomp.passes.rewriter import const_value, op_name, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Binding, Call, Expr, Var

relax = tvm.relax
tirx = tvm.tirx


@dataclass(frozen=True)
class Step:
    """A step on the scores.

    Attributes:
        operand: a number, or a tensor that is broadcast to the scores.
        apply: ``(score, operand's element)`` -> the new score, in TIR.
    """

    operand: Expr
    apply: Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Attention:
    """An attention of the function.

    Attributes:
        var: the result, ``[*batch, rows, width]``.
        query: ``[*, rows, depth]``.
        key: transposed, ``[*, depth, keys]``.
        value: ``[*, keys, width]``.
        steps: what happens to the scores before softmax.
        inside: the variables in between, which nothing else reads.
    """

    var: Var
    query: Any
    key: Any
    value: Expr
    steps: tuple[Step, ...]
    inside: tuple[Any, ...]


@dataclass(frozen=True)
class _Scores:
    """Scores traced back to the product that they start as."""

    product: Any
    steps: tuple[Step, ...] = ()
    inside: tuple[Any, ...] = ()

    def then(self, step: Step, var: Var) -> _Scores:
        return _Scores(self.product, (*self.steps, step), (*self.inside, var))


def find_attention(
    binding: Binding,
    is_product: Callable[[Any], bool],
    producer: Mapping[Var, Expr],
    users: Mapping[Any, list[Any]],
) -> Attention | None:
    """The attention whose product with the values is ``binding``; None where it is none.

    Args:
        binding: of a matrix product.
        is_product: whether a value is a matrix product of two activations.
        producer: variable -> the value bound to it.
        users: variable -> the bindings that read it.
    """
    weights, value = binding.value.args
    softmax: Any = producer.get(weights)
    if op_name(softmax) != "nn.softmax" or len(users[weights]) != 1:
        return None
    if int(softmax.attrs.axis) % len(shape_of(weights)) != len(shape_of(weights)) - 1:
        return None
    if shape_of(weights)[:-2] != shape_of(binding.var)[:-2]:
        return None  # The values have a batch of their own.

    def trace(scores: Any) -> _Scores | None:
        if len(users.get(scores, ())) != 1 or shape_of(scores) != shape_of(weights):
            return None
        call: Any = producer.get(scores)
        if is_product(call):
            return _Scores(call, (), (scores,))
        for before, step in _steps(call):
            traced = trace(before)
            if traced is not None:
                return traced.then(step, scores)
        return None

    found = trace(softmax.args[0])
    if found is None:
        return None
    query, key = found.product.args
    return Attention(binding.var, query, key, value, found.steps, (*found.inside, weights))


def _steps(call: Call) -> list[tuple[Any, Step]]:
    """What ``call`` may be: each of its operands in turn as the scores, and the step on them."""
    name = op_name(call)
    if name == "where":
        condition, yes, no = call.args
        steps = []
        if (number := _number(no)) is not None:
            steps.append((yes, Step(condition, _kept_where(number, True))))
        if (number := _number(yes)) is not None:
            steps.append((no, Step(condition, _kept_where(number, False))))
        return steps
    if name not in _ARITHMETIC:
        return []
    left, right = call.args
    steps = [(left, _arithmetic(name, right))]
    if name in ("add", "multiply"):
        steps.append((right, _arithmetic(name, left)))
    return [(scores, step) for scores, step in steps if isinstance(scores, relax.Var)]


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda score, other: score + other,
    "subtract": lambda score, other: score - other,
    "multiply": lambda score, other: score * other,
    "divide": lambda score, other: score / other,
}


def _arithmetic(name: str, operand: Expr) -> Step:
    number = _number(operand)
    if number is None:
        return Step(operand, _ARITHMETIC[name])
    if name == "divide" and number:
        name, number = "multiply", 1 / number
    return Step(number, _ARITHMETIC[name])


def _kept_where(number: float, condition: bool) -> Callable[[Any, Any], Any]:
    """Scores where the mask is ``condition``, and ``number`` elsewhere."""
    other = tirx.const(number, "float32")
    if condition:
        return lambda score, mask: tirx.Select(mask, score, other)
    return lambda score, mask: tirx.Select(mask, other, score)


def _number(expr: Expr) -> float | None:
    """The number that a constant of one element holds; None for anything else."""
    value = const_value(expr)
    return float(value.reshape(())) if value is not None and value.size == 1 else None
