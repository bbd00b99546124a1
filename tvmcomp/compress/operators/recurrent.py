"""LSTM, GRU and RNN as ONNX defines them, a step after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F

from tvmcomp.compress.operators.quantization import straight_through
from tvmcomp.compress.operators.table import Node, Tensor, operator
from tvmcomp.frontend.onnx.recurrent_rules import functions_of
from tvmcomp.recurrent import GATES, Activation, Kind

#: An attribute of our own while a network is fake-quantized: into how many steps a state from 0 to
#: 1 is rounded before it is multiplied, as a kernel in integers does.
STATE_STEPS = "state_steps"

_FUNCTIONS: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "affine": lambda x, a, b: a * x + b,
    "elu": lambda x, a, b: F.elu(x, a),
    "hardsigmoid": lambda x, a, b: torch.clamp(a * x + b, 0, 1),
    "leakyrelu": lambda x, a, b: F.leaky_relu(x, a),
    "relu": lambda x, a, b: torch.relu(x),
    "scaledtanh": lambda x, a, b: a * torch.tanh(b * x),
    "sigmoid": lambda x, a, b: torch.sigmoid(x),
    "softplus": lambda x, a, b: F.softplus(x, threshold=80),
    "softsign": lambda x, a, b: F.softsign(x),
    "tanh": lambda x, a, b: torch.tanh(x),
    "thresholdedrelu": lambda x, a, b: torch.where(x > a, x, 0),
}


@dataclass(frozen=True)
class _Direction:
    """One direction of a layer.

    Attributes:
        node: the layer.
        functions: f, g, h of the standard's equations.
        recurrent: ``[G H, H]``.
        bias: of the recurrent products ``[G H]``.
        peepholes: ``[3 H]``: input, output, forget.
    """

    node: Node
    functions: tuple[Activation, ...]
    recurrent: Tensor
    bias: Tensor | None
    peepholes: Tensor | None

    def apply(self, index: int, x: Tensor) -> Tensor:
        """The function f, g or h of ``x``, cut off as the layer says."""
        chosen, clip = self.functions[index], self.node.get("clip", 0.0)
        bounded = torch.clamp(x, -clip, clip) if clip else x
        return _FUNCTIONS[chosen.name](bounded, chosen.alpha, chosen.beta)

    def times(self, state: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """A state's product; the state is rounded first where the layer is one of integers."""
        if self.node.get(STATE_STEPS, 0):
            steps = self.node[STATE_STEPS]
            state = straight_through(torch.clamp(state * steps, -steps, steps)) / steps
        return F.linear(state, weight, bias)

    def lstm(self, x: Tensor, state: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """A step: ``x`` is ``[B, 4 H]``, projected."""
        parts = (x + self.times(state, self.recurrent, self.bias)).chunk(4, -1)
        given, out, forget, new = parts
        looks = (None,) * 3 if self.peepholes is None else self.peepholes.chunk(3)
        peep_in, peep_out, peep_forget = looks
        opened = self.apply(0, given if peep_in is None else given + peep_in * cell)
        if self.node.get("input_forget", 0):
            kept = 1 - opened
        else:
            kept = self.apply(0, forget if peep_forget is None else forget + peep_forget * cell)
        cell = kept * cell + opened * self.apply(1, new)
        shown = self.apply(0, out if peep_out is None else out + peep_out * cell)
        return shown * self.apply(2, cell), cell

    def gru(self, x: Tensor, state: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """A step: ``x`` is ``[B, 3 H]``, projected."""
        units = self.recurrent.shape[-1]
        gates, new = x.split([2 * units, units], -1)
        weights, last = self.recurrent.split([2 * units, units])
        bias, last_bias = (None, None) if self.bias is None else self.bias.split([2 * units, units])
        update, reset = self.apply(0, gates + self.times(state, weights, bias)).chunk(2, -1)
        if self.node.get("linear_before_reset", 0):
            inner = reset * self.times(state, last, last_bias)
        else:
            inner = self.times(reset * state, last, last_bias)
        fresh = self.apply(1, new + inner)
        return (1 - update) * fresh + update * state, cell

    def rnn(self, x: Tensor, state: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """A step: ``x`` is ``[B, H]``, projected."""
        return self.apply(0, x + self.times(state, self.recurrent, self.bias)), cell


@operator("LSTM", "GRU", "RNN", settings=(4,))
def _recurrent(
    node: Node,
    x: Tensor,
    weight: Tensor,
    recurrent: Tensor,
    bias: Tensor | None = None,
    lengths: Tensor | None = None,
    state: Tensor | None = None,
    cell: Tensor | None = None,
    peepholes: Tensor | None = None,
) -> tuple[Tensor, ...]:
    kind = cast("Kind", node.operator.lower())
    batch_first = bool(node.get("layout", 0))
    if batch_first:
        x = x.transpose(0, 1)
        state, cell = (None if s is None else s.transpose(0, 1) for s in (state, cell))
    directions, units = recurrent.shape[0], recurrent.shape[-1]
    functions = functions_of(kind, directions, node.attributes)
    zeros = x.new_zeros(directions, x.shape[1], units)
    state, cell = (zeros if each is None else each for each in (state, cell))
    backward = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    runs = []
    for d, reversed_ in enumerate(backward[node.get("direction", "forward")]):
        input_bias, own_bias = (None, None) if bias is None else bias[d].chunk(2)
        assert weight.shape[1] == GATES[kind] * units
        looks = None if peepholes is None else peepholes[d]
        direction = _Direction(node, functions[d], recurrent[d], own_bias, looks)
        step = getattr(direction, kind)
        projected = F.linear(x, weight[d], input_bias)
        runs.append(_run(step, projected, state[d], cell[d], lengths, reversed_))
    sequence, last, last_cell = (torch.stack(each, -3) for each in zip(*runs, strict=True))
    results = [sequence, last, last_cell] if kind == "lstm" else [sequence, last]
    if batch_first:
        results = [results[0].permute(2, 0, 1, 3), *(r.transpose(0, 1) for r in results[1:])]
    return tuple(results)


def _run(
    step: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]],
    x: Tensor,
    state: Tensor,
    cell: Tensor,
    lengths: Tensor | None,
    backward: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The states of all steps ``[T, B, H]``, and the last state and cell ``[B, H]``."""
    count = x.shape[0]
    outputs: list[Any] = [None] * count
    for t in reversed(range(count)) if backward else range(count):
        new, new_cell = step(x[t], state, cell)
        if lengths is None:
            state, cell, outputs[t] = new, new_cell, new
        else:  # beyond its end a sequence's state stays, and its output is 0
            inside = (t < lengths).reshape(-1, 1)
            state, cell = torch.where(inside, new, state), torch.where(inside, new_cell, cell)
            outputs[t] = torch.where(inside, new, 0)
    return torch.stack(outputs), state, cell
