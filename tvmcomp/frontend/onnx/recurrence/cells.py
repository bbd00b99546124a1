"""Which cell of the standard (LSTM, GRU, RNN) sums of a loop's body are, and with which weights.

    LSTM   c' = f ⊙ c + i ⊙ g               h' = o ⊙ tanh(c')
    GRU    h' = z ⊙ h + (1 - z) ⊙ n
    RNN    h' = f(x W + h R + b)

``f``, ``i``, ``o``, ``z`` and ``n`` are functions of sums of products of the step's input and the
state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tvmcomp.frontend.onnx.recurrence.algebra import Atom, Monomial, NotRecurrent, Sum

#: Functions of a recurrent node.
FUNCTIONS = {
    "Elu", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Softplus", "Softsign", "Tanh",
    "ThresholdedRelu",
}  # fmt: skip
#: How far a coefficient may be from what it stands for: 1/6 of 6 is 1.
_ROUNDING = 1e-6


@dataclass
class Cell:
    """A cell, its gates in ONNX's order.

    Attributes:
        kind: the operator of ONNX.
        hidden: the state that is its output, and ``cell`` an LSTM's other one.
        functions: of the node's ``activations``.
        inputs: names of the slices that its inputs are made of, and their widths.
        weight: ``[G H, I]``; ``recurrent`` ``[G H, H]``; ``bias`` ``[2 G H]``; float64.
        peepholes: ``[3 H]`` where there are any.
        reset_after: of a GRU.
    """

    kind: str
    hidden: str
    cell: str = ""
    functions: list[Atom] = field(default_factory=list)
    inputs: dict[str, int] = field(default_factory=dict)
    weight: np.ndarray = field(default_factory=lambda: np.zeros(0))
    recurrent: np.ndarray = field(default_factory=lambda: np.zeros(0))
    bias: np.ndarray = field(default_factory=lambda: np.zeros(0))
    peepholes: np.ndarray | None = None
    reset_after: bool = False


def cell_of(hidden: str, updates: Mapping[str, Sum]) -> Cell:
    """The cell whose output is the state ``hidden``.

    Args:
        hidden: its name.
        updates: what each state becomes, by its name.

    Raises:
        NotRecurrent: it is none.
    """
    new = updates[hidden]
    other = [name for name, update in updates.items() if name != hidden and _follows(new, update)]
    if other:
        return _lstm(hidden, other[0], new, updates[other[0]])
    if len(new.terms) == 1:
        return _rnn(hidden, new)
    return _gru(hidden, new)


def _follows(new: Sum, update: Sum) -> bool:
    """Whether ``new`` is a gate times a function of what another state becomes."""
    return len(new.terms) == 1 and any(
        atom.inner is not None and atom.function in FUNCTIONS and atom.inner.key == update.key
        for monomial in new.terms
        for atom in monomial
        if len(monomial) == 2
    )


@dataclass
class _Gate:
    """What a gate's function is of: ``x W + h R + b``, and what else there is."""

    inputs: dict[str, np.ndarray]
    recurrent: np.ndarray
    bias: np.ndarray
    others: dict[Monomial, np.ndarray]

    @classmethod
    def of(cls, total: Sum, hidden: str) -> _Gate:
        width = total.width
        gate = cls({}, np.zeros((width, width)), np.zeros(width), {})
        for monomial, coefficient in total.terms.items():
            atom = monomial[0] if len(monomial) == 1 else None
            matrix = coefficient if coefficient.ndim == 2 else np.diag(coefficient)
            if not monomial:
                gate.bias = coefficient
            elif atom is not None and atom.function == "input":
                gate.inputs[atom.name] = matrix
            elif atom is not None and atom.function == "state" and atom.name == hidden:
                gate.recurrent = matrix
            else:
                gate.others[monomial] = coefficient
        return gate


def _lstm(hidden: str, cell: str, new: Sum, update: Sum) -> Cell:
    ((pair, one),) = new.terms.items()
    out, h = pair if pair[1].inner is not None and pair[1].inner.key == update.key else pair[::-1]
    _check_ones(one)
    kept = next((m for m in update.terms if _has(m, cell) and len(m) == 2), None)
    made = [m for m in update.terms if len(m) == 2 and not _has(m, cell)]
    plain = next((m for m in update.terms if len(m) == 1 and _has(m, cell)), None)
    if kept is None or len(made) != 1:
        raise NotRecurrent("its cell is no LSTM's")
    forget = _other(kept, cell)
    first, second = made[0]
    if plain is None:
        # Where all functions are one, the product doesn't say which is the input gate.
        entered, g = (first, second) if first.function == forget.function else (second, first)
        _check_terms(update, {kept: 1.0, made[0]: 1.0})
        forgets = _Gate.of(_inner(forget), hidden)
    else:
        entered, g = (first, second) if first.key == forget.key else (second, first)
        _check_terms(update, {plain: 1.0, kept: -1.0, made[0]: 1.0})
        if entered.key != forget.key:
            raise NotRecurrent("its cell is no LSTM's")
        forgets = _Gate.of(_complement(forget), hidden)
    gates = [_Gate.of(_inner(entered), hidden), _Gate.of(_inner(out), hidden), forgets,
             _Gate.of(_inner(g), hidden)]  # fmt: skip
    _same_function(entered, forget, out)
    width = new.width
    peepholes = [_peephole(gates[0], cell), _peephole_of_new(gates[1], update),
                 _peephole(gates[2], cell)]  # fmt: skip
    found = _with_weights(Cell("LSTM", hidden, cell, [entered, g, h]), gates, width)
    if any(each is not None for each in peepholes):
        found.peepholes = np.concatenate(
            [np.zeros(width) if each is None else each for each in peepholes]
        )
    return found


def _peephole(gate: _Gate, cell: str) -> np.ndarray | None:
    """What a gate sees of the cell before the step."""
    for monomial in gate.others:
        if len(monomial) == 1 and _has(monomial, cell) and gate.others[monomial].ndim == 1:
            return gate.others.pop(monomial)
    return None


def _peephole_of_new(gate: _Gate, update: Sum) -> np.ndarray | None:
    """What the output gate sees of the cell after the step: all of the sum, times one vector."""
    if not gate.others:
        return None
    if set(gate.others) != set(update.terms) or any(c.ndim != 1 for c in gate.others.values()):
        raise NotRecurrent("its output gate depends on other sums")
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = [gate.others[m] / update.terms[m] for m in update.terms]
    if any(np.abs(each - seen[0]).max() > _ROUNDING for each in seen):
        raise NotRecurrent("its output gate depends on other sums")
    gate.others = {}
    return seen[0]


def _gru(hidden: str, new: Sum) -> Cell:
    kept = [m for m in new.terms if len(m) == 2 and _has(m, hidden)]
    plain = [m for m in new.terms if len(m) == 1]
    if len(kept) != 1 or len(plain) != 1 or len(new.terms) != 3:
        raise NotRecurrent("its state is no cell's")
    z = _other(kept[0], hidden)
    (mixed,) = set(new.terms) - {kept[0], plain[0]}
    if len(mixed) != 2 or z not in mixed:
        raise NotRecurrent("its state is no cell's")
    n = mixed[0] if mixed[1] == z else mixed[1]
    if plain[0][0] == n:  # z ⊙ h + n - z ⊙ n
        _check_terms(new, {kept[0]: 1.0, plain[0]: 1.0, mixed: -1.0})
        update = _Gate.of(_inner(z), hidden)
    elif _has(plain[0], hidden):  # h - z ⊙ h + z ⊙ n
        _check_terms(new, {kept[0]: -1.0, plain[0]: 1.0, mixed: 1.0})
        update = _Gate.of(_complement(z), hidden)
    else:
        raise NotRecurrent("its state is no cell's")
    candidate = _Gate.of(_inner(n), hidden)
    if len(candidate.others) != 1 or candidate.recurrent.any():
        raise NotRecurrent("its candidate is not reset as a GRU's")
    ((product, coefficient),) = candidate.others.items()
    if len(product) != 2:
        raise NotRecurrent("its candidate is not reset as a GRU's")
    width, inside = new.width, np.zeros(new.width)
    if coefficient.ndim == 2 and _has(product, hidden):
        r, reset_after = _other(product, hidden), False
        candidate.recurrent = coefficient
    else:
        r, held = product if product[1].function in ("sum", "state") else product[::-1]
        _check_ones(coefficient)
        reset_after = True
        if held.inner is None:
            raise NotRecurrent("its candidate is not reset as a GRU's")
        of_state = _Gate.of(held.inner, hidden)
        if of_state.inputs or of_state.others:
            raise NotRecurrent("what its reset gate multiplies is no product of the state")
        candidate.recurrent, inside = of_state.recurrent, of_state.bias
    candidate.others = {}
    _same_function(z, r)
    gates = [update, _Gate.of(_inner(r), hidden), candidate]
    cell = Cell("GRU", hidden, functions=[z, n], reset_after=reset_after)
    found = _with_weights(cell, gates, width)
    found.bias[-width:] = inside
    return found


def _rnn(hidden: str, new: Sum) -> Cell:
    ((monomial, one),) = new.terms.items()
    if len(monomial) != 1:
        raise NotRecurrent("its state is no cell's")
    _check_ones(one)
    gate = _Gate.of(_inner(monomial[0]), hidden)
    return _with_weights(Cell("RNN", hidden, functions=[monomial[0]]), [gate], new.width)


def _with_weights(cell: Cell, gates: list[_Gate], width: int) -> Cell:
    for gate in gates:
        if gate.others:
            raise NotRecurrent("a gate depends on more than the input and the state")
        for name, matrix in gate.inputs.items():
            cell.inputs.setdefault(name, len(matrix))
    if not cell.inputs:
        raise NotRecurrent("it has no input")
    if any(function.function not in FUNCTIONS for function in cell.functions):
        raise NotRecurrent("a function is none of a recurrent node's")
    none = {name: np.zeros((size, width)) for name, size in cell.inputs.items()}
    cell.weight = np.concatenate(
        [np.concatenate([(none | g.inputs)[n] for n in cell.inputs]).T for g in gates]
    )
    cell.recurrent = np.concatenate([gate.recurrent.T for gate in gates])
    biases = np.concatenate([gate.bias for gate in gates])
    cell.bias = np.concatenate([biases, np.zeros_like(biases)])
    return cell


def _has(monomial: Monomial, state: str) -> bool:
    return any(atom.function == "state" and atom.name == state for atom in monomial)


def _other(pair: Monomial, state: str) -> Atom:
    """The factor of a pair that is not the state."""
    others = [atom for atom in pair if not (atom.function == "state" and atom.name == state)]
    if len(others) != 1:
        raise NotRecurrent("a state is multiplied by itself")
    return others[0]


def _inner(atom: Atom) -> Sum:
    if atom.inner is None or atom.function == "sum":
        raise NotRecurrent("a gate is no function of a sum")
    return atom.inner


def _complement(atom: Atom) -> Sum:
    """What the gate's function must be of to give one less what it gives."""
    inner = _inner(atom)
    if atom.function != "Sigmoid" and not (atom.function == "HardSigmoid" and atom.beta == 0.5):
        raise NotRecurrent("one less a gate is no gate")
    return Sum(inner.shape, {m: -c for m, c in inner.terms.items()})


def _same_function(*atoms: Atom) -> None:
    if len({(atom.function, atom.alpha, atom.beta) for atom in atoms}) != 1:
        raise NotRecurrent("its gates have different functions")


def _check_ones(coefficient: np.ndarray) -> None:
    if coefficient.ndim != 1 or np.abs(coefficient - 1).max() > _ROUNDING:
        raise NotRecurrent("a gate is scaled")


def _check_terms(total: Sum, wanted: dict[Monomial, float]) -> None:
    if set(total.terms) != set(wanted):
        raise NotRecurrent("it adds more than its gates")
    for monomial, sign in wanted.items():
        _check_ones(total.terms[monomial] * sign)
