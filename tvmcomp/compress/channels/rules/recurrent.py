"""LSTM, GRU and RNN: a hidden unit goes from every gate, direction and state.

W [D, G H, I]   R [D, G H, H]   B [D, 2 G H]   P [D, 3 H]   Y [T, D, N, H]
"""

from __future__ import annotations

import numpy as np

from tvmcomp.compress.channels.classes import Axis
from tvmcomp.compress.channels.flow import NodeFlow
from tvmcomp.compress.channels.rules.table import rule

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@rule(*_GATES)
def recurrent(node: NodeFlow) -> None:
    """The units are read by the layer itself (of R, its last axis) and by what reads the states."""
    gates = _GATES[node.node.op_type]
    x, weight, state = node.axes(0), node.axes(1), node.axes(2)
    units = state[2]
    node.reads(0, 2, node.unify(x[2], weight[2]))
    _tie(node, units, weight[1], gates)
    _tie(node, units, state[1], gates)
    if node.has(3):
        _tie(node, units, node.axes(3)[1], 2 * gates)
    for place in (5, 6):
        if node.has(place):
            node.unify(units, node.axes(place)[2])
    if node.has(7):
        _tie(node, units, node.axes(7)[1], 3)
    node.reads(2, 2, units)
    node.makes(units)
    size = node.shape(node.inputs[2])[2]
    node.on_cut(lambda edit: edit.set_attribute("hidden_size", edit.count(units, size)))
    states: list[Axis] = [None, None, units]
    node.gives([None, *states], states, states)


def _tie(node: NodeFlow, units: Axis, axis: Axis, times: int) -> None:
    node.unify(None if units is None else np.tile(units, times), axis)
