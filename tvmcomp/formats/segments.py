"""The parts of a network that have one number format each, and the tensors between them.

A segment is an anchor with what follows it until the next anchors: its bias and activation, the
residual that is added in its registers, pools and moves of its result. What comes before every
anchor is a segment too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tvmcomp.passes.operator_kinds import ANCHORS
from tvmcomp.passes.rewriter import main_bindings, op_name
from tvmcomp.recurrent import RECURRENT
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Binding, Module, Var

relax = tvm.relax


@dataclass(frozen=True)
class Segments:
    """The segments of ``main``, in program order.

    Attributes:
        operators: the operators of each.
        anchors: the one that each begins with; None where there is none.
        borders: of two segments, how many numbers the later one reads of the other.
    """

    operators: tuple[tuple[str, ...], ...]
    anchors: tuple[str | None, ...]
    borders: Mapping[tuple[int, int], int]

    def of_operator(self) -> dict[str, int]:
        """The segment of each operator."""
        return {name: i for i, names in enumerate(self.operators) for name in names}


def segments_of(mod: Module) -> Segments:
    """The segments of a float module in NHWC."""
    operators: list[list[str]] = [[]]
    anchors: list[str | None] = [None]
    #: The segment of what computes a variable; inputs and constants have none.
    place: dict[Any, int] = {}
    borders: dict[tuple[int, int], int] = {}
    for binding in main_bindings(mod) or []:
        read = [var for var in relax.analysis.free_vars(binding.value) if var in place]
        kind = op_name(binding.value)
        if _begins(binding):
            operators.append([])
            anchors.append(str(binding.var.name))
            own = len(anchors) - 1
        else:
            own = max((place[var] for var in read), default=0)
        place[binding.var] = own
        if kind is not None:
            operators[own].append(str(binding.var.name))
        for var in read:
            if place[var] != own:
                pair = place[var], own
                borders[pair] = borders.get(pair, 0) + numbers_of(var)
    return Segments(tuple(map(tuple, operators)), tuple(anchors), borders)


def _begins(binding: Binding) -> bool:
    return op_name(binding.value) in (*ANCHORS, RECURRENT)


def numbers_of(var: Var) -> int:
    """How many numbers a variable holds; of a tuple, all of them."""
    types = var.ty.fields if isinstance(var.ty, relax.TupleType) else [var.ty]
    return sum(math.prod(int(size) for size in each.shape) for each in types)
