"""The equations of recurrent cells, element by element: what a step makes of its products.

A step is one phase, or two where the second multiplies what the first gives (a GRU that resets the
state before the product). The symbols are those of the standard: i, o, f, c the gates of an LSTM,
z, r, h those of a GRU.

With the usual functions in float32 the gates are fractions, and each result is one division: that
is what a step of a small layer takes longest for.

    sigmoid(x) = 1 / (1 + e^-x)        tanh(x) = over(x) / under(x)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvmcomp.recurrent import Activation, RecurrentCell
from tvmcomp.schedules.recurrent.activations import (
    activate,
    clipped,
    sigmoid_power,
    sigmoid_under,
    tanh_fraction,
)
from tvmcomp.schedules.recurrent.fixed_point_lstm import fixed_point_phases
from tvmcomp.schedules.recurrent.phase import Element, Phase
from tvmcomp.tvm_import import tvm

tirx = tvm.tirx


def phases(cell: RecurrentCell, functions: Sequence[Activation]) -> list[Phase]:
    """The phases of a step of ``cell`` with the activations of one direction."""
    if cell.fixed_point is not None:
        return fixed_point_phases(cell.fixed_point)
    return _KINDS[cell.kind](cell, functions)


def arrays(cell: RecurrentCell) -> list[str]:
    """The arrays beside ``state`` that the phases write."""
    if cell.kind == "lstm":
        return ["cell"]
    return ["update", "reset_state"] if cell.kind == "gru" and not cell.reset_after else []


def _lstm(cell: RecurrentCell, functions: Sequence[Activation]) -> list[Phase]:
    f, g, h = functions
    peepholes = "peepholes" in cell.operands

    def sum_of(at: Element, slot: int, number: int) -> Any:
        value = at.start(slot)
        return value + at.peephole(number) * at.load("cell") if peepholes else value

    def gate(at: Element, slot: int, number: int) -> Any:
        return activate(f, sum_of(at, slot, number), cell.clip)

    def new_cell(at: Element) -> Any:
        c = at.start(3)
        if _has_usual(cell, functions, c) and not cell.input_forget:
            under_i = sigmoid_under(clipped(sum_of(at, 0, 0), cell.clip))
            under_f = sigmoid_under(clipped(sum_of(at, 2, 2), cell.clip))
            over_c, under_c = tanh_fraction(clipped(c, cell.clip))
            over = at.load("cell") * (under_i * under_c) + over_c * under_f
            return over / (under_i * under_c * under_f)
        i = gate(at, 0, 0)
        forget = _one(i) - i if cell.input_forget else gate(at, 2, 2)
        return forget * at.load("cell") + i * activate(g, c, cell.clip)

    def new_state(at: Element) -> Any:
        # The output gate looks at the new cell.
        new = at.load("cell")
        if _has_usual(cell, functions, new):
            over, under = tanh_fraction(new)
            return over / (under * sigmoid_under(clipped(sum_of(at, 1, 1), cell.clip)))
        return gate(at, 1, 1) * activate(h, at.load("cell"), 0)

    gates = (0, 1, 2, 3)
    return [Phase(gates, "state", gates, (("cell", new_cell), ("state", new_state)))]


def _gru(cell: RecurrentCell, functions: Sequence[Activation]) -> list[Phase]:
    f, g = functions

    def gate(at: Element, slot: int) -> Any:
        return activate(f, at.start(slot), cell.clip)

    def mixed(z: Any, h: Any, at: Element) -> Any:
        """The new state, of the sum of z (where ``update`` holds the gate, None) and that of h."""
        old = at.load("state")
        if _has_usual(cell, functions, h):
            power = at.load("update") if z is None else sigmoid_power(clipped(z, cell.clip))
            over, under = tanh_fraction(clipped(h, cell.clip))
            return (power * over + old * under) / ((power + _one(h)) * under)
        gate_z = at.load("update") if z is None else activate(f, z, cell.clip)
        return (_one(h) - gate_z) * activate(g, h, cell.clip) + gate_z * old

    def update(at: Element) -> Any:
        z = at.start(0)
        if _has_usual(cell, functions, z):
            return sigmoid_power(clipped(z, cell.clip))
        return gate(at, 0)

    if cell.reset_after:

        def state(at: Element) -> Any:
            return mixed(at.start(0), at.start(3) + gate(at, 1) * at.start(2), at)

        # Of the hidden gate the input's share stands apart.
        return [Phase((0, 1, 2), "state", (0, 1, None, 2), (("state", state),))]

    first = (
        ("update", update),
        ("reset_state", lambda at: gate(at, 1) * at.load("state")),
    )

    def of_reset(at: Element) -> Any:
        return mixed(None, at.start(0), at)

    return [
        Phase((0, 1), "state", (0, 1), first),
        Phase((2,), "reset_state", (2,), (("state", of_reset),)),
    ]


def _one(like: Any) -> Any:
    return tirx.const(1, str(like.ty.dtype))


def _has_usual(cell: RecurrentCell, functions: Sequence[Activation], value: Any) -> bool:
    """Whether the gates are sigmoids and the rest tanh, in float32."""
    names = [function.name for function in functions]
    return str(value.ty.dtype) == "float32" and names == ["sigmoid", *["tanh"] * (len(names) - 1)]


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
