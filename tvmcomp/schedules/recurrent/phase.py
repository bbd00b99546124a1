"""What a step of a recurrent layer is made of: products, and equations of what follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class Element(Protocol):
    """One unit of one row of the batch, in one step."""

    def start(self, slot: int) -> Any:
        """The sum at ``slot`` of the phase: what it began with, and the product."""
        ...

    def load(self, array: str) -> Any:
        """``state`` before the step; ``cell``, ``update``, ``reset_state`` as written last.

        ``update`` holds the gate z, or where it is the usual e^-z of its sum.
        """
        ...

    def peephole(self, number: int) -> Any:
        """The unit's weight to the cell: of input, output, forget."""
        ...


#: Gives the new value of an array's element.
Equation = Callable[[Element], Any]


@dataclass(frozen=True)
class Phase:
    """Products with recurrent weights, and what follows from them.

    Attributes:
        gates: that are multiplied, by their number in the weights.
        source: the array that they are multiplied by: ``state`` or ``reset_state``.
        slots: what each sum begins with: the number of a gate in ``x``, or None for the recurrent
            bias. The first are the gates'; to those after them no product is added.
        activated: first sum, how many, and what they become before the results are computed: long
            chains of instructions, of which several vectors' are computed side by side.
        results: array and equation, in order. ``state`` and ``cell`` stay where a sequence ended.
    """

    gates: tuple[int, ...]
    source: str
    slots: tuple[int | None, ...]
    results: tuple[tuple[str, Equation], ...]
    activated: tuple[tuple[int, int, Callable[[Any], Any]], ...] = ()
