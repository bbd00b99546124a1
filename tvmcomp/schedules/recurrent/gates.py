"""The equations of recurrent cells, element by element: what a step makes of its products.

A step is one phase, or two where the second multiplies what the first gives (a GRU that resets the
state before the product). The symbols are those of the standard: i, o, f, c the gates of an LSTM,
z, r, h those of a GRU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tvmcomp.recurrent import Activation, RecurrentCell
from tvmcomp.schedules.recurrent.activations import activate
from tvmcomp.tvm_import import tvm

tirx = tvm.tirx


class Element(Protocol):
    """One unit of one row of the batch, in one step."""

    def start(self, slot: int) -> Any:
        """The sum at ``slot`` of the phase: what it began with, and the product."""
        ...

    def load(self, array: str) -> Any:
        """``state`` before the step; ``cell``, ``update``, ``reset_state`` as written last."""
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
        results: array and equation, in order. ``state`` and ``cell`` stay where a sequence ended.
    """

    gates: tuple[int, ...]
    source: str
    slots: tuple[int | None, ...]
    results: tuple[tuple[str, Equation], ...]


def phases(cell: RecurrentCell, functions: Sequence[Activation]) -> list[Phase]:
    """The phases of a step of ``cell`` with the activations of one direction."""
    return _KINDS[cell.kind](cell, functions)


def arrays(cell: RecurrentCell) -> list[str]:
    """The arrays beside ``state`` that the phases write."""
    if cell.kind == "lstm":
        return ["cell"]
    return ["update", "reset_state"] if cell.kind == "gru" and not cell.reset_after else []


def _lstm(cell: RecurrentCell, functions: Sequence[Activation]) -> list[Phase]:
    f, g, h = functions
    peepholes = "peepholes" in cell.operands

    def gate(at: Element, slot: int, number: int) -> Any:
        value = at.start(slot)
        if peepholes:
            value = value + at.peephole(number) * at.load("cell")
        return activate(f, value, cell.clip)

    def new_cell(at: Element) -> Any:
        i = gate(at, 0, 0)
        forget = tirx.const(1, str(i.ty.dtype)) - i if cell.input_forget else gate(at, 2, 2)
        return forget * at.load("cell") + i * activate(g, at.start(3), cell.clip)

    def new_state(at: Element) -> Any:
        # The output gate looks at the new cell.
        return gate(at, 1, 1) * activate(h, at.load("cell"), 0)

    gates = (0, 1, 2, 3)
    return [Phase(gates, "state", gates, (("cell", new_cell), ("state", new_state)))]


def _gru(cell: RecurrentCell, functions: Sequence[Activation]) -> list[Phase]:
    f, g = functions

    def gate(at: Element, slot: int) -> Any:
        return activate(f, at.start(slot), cell.clip)

    def mixed(z: Any, h: Any, at: Element) -> Any:
        return (tirx.const(1, str(z.ty.dtype)) - z) * h + z * at.load("state")

    if cell.reset_after:

        def state(at: Element) -> Any:
            h = at.start(3) + gate(at, 1) * at.start(2)
            return mixed(gate(at, 0), activate(g, h, cell.clip), at)

        # Of the hidden gate the input's share stands apart.
        return [Phase((0, 1, 2), "state", (0, 1, None, 2), (("state", state),))]

    first = (
        ("update", lambda at: gate(at, 0)),
        ("reset_state", lambda at: gate(at, 1) * at.load("state")),
    )

    def of_reset(at: Element) -> Any:
        return mixed(at.load("update"), activate(g, at.start(0), cell.clip), at)

    return [
        Phase((0, 1), "state", (0, 1), first),
        Phase((2,), "reset_state", (2,), (("state", of_reset),)),
    ]


def _rnn(cell: RecurrentCell, functions: Sequence[Activation]) -> list[Phase]:
    (f,) = functions

    def state(at: Element) -> Any:
        return activate(f, at.start(0), cell.clip)

    return [Phase((0,), "state", (0,), (("state", state),))]


_KINDS: dict[str, Callable[[RecurrentCell, Sequence[Activation]], list[Phase]]] = {
    "lstm": _lstm,
    "gru": _gru,
    "rnn": _rnn,
}
