"""An If: both branches are computed, and every result chosen from theirs.

Operators have no side effects, and the function stays one dataflow block, which every later pass
needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvmcomp.frontend.onnx.values import TensorSequence, dtype_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr

relax = tvm.relax


def chosen(condition: Expr, taken: Sequence[Any], other: Sequence[Any]) -> list[Any]:
    """``taken`` where ``condition`` holds, else ``other``: the results of the two branches.

    Raises:
        ValueError: they are sequences, or differ in their types.
    """
    for left, right in zip(taken, other, strict=True):
        if isinstance(left, TensorSequence) or isinstance(right, TensorSequence):
            raise ValueError("its branches give sequences, which can't be chosen from")
        if (shape_of(left), dtype_of(left)) != (shape_of(right), dtype_of(right)):
            raise ValueError(f"its branches give {left.ty} and {right.ty}")
    return [relax.op.where(condition, *pair) for pair in zip(taken, other, strict=True)]


def both(block: Builder, condition: Expr | None, other: Expr | None) -> Any:
    """Whether both hold; None for what always does."""
    if condition is None or other is None:
        return condition if other is None else other
    return block.emit(relax.op.logical_and(block.normalize(condition), other))
