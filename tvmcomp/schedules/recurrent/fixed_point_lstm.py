"""The equations of an LSTM in integers, bit for bit as LiteRT's kernel has them.

The gates' sums arrive as Q3 in int32; cell (int16) and state (int8) are stored. The symbols are
those of :mod:`tvmcomp.schedules.recurrent.gates`.
"""

from __future__ import annotations

from typing import Any

from tvmcomp.fixed_point import FixedPointLstm
from tvmcomp.schedules.recurrent.fixed_point import logistic, saturated, scaled, shifted, tanh
from tvmcomp.schedules.recurrent.phase import Element, Phase
from tvmcomp.tvm_import import tvm

tirx = tvm.tirx


def fixed_point_phases(numbers: FixedPointLstm) -> list[Phase]:
    """The phase of a step."""
    exponent = numbers.cell_exponent

    def cell(at: Element) -> Any:
        kept = shifted(at.start(2) * at.load("cell").astype("int32"), 15)
        new = shifted(at.start(0) * at.start(3), 30 + exponent)
        value = saturated(kept + new)
        if numbers.cell_clip:
            bound = tirx.const(numbers.cell_clip, "int32")
            value = tirx.max(tirx.min(value, bound), -bound)
        return value.astype("int16")

    def state(at: Element) -> Any:
        shown = tanh(at.load("cell").astype("int32"), 15 + exponent)
        value = scaled(at.start(1) * shown, numbers.of_output)
        return saturated(value + tirx.const(numbers.zero_point, "int32"), 8).astype("int8")

    gates = (0, 1, 2, 3)
    activated = ((0, 3, logistic), (3, 1, lambda x: tanh(x, 3)))
    return [Phase(gates, "state", gates, (("cell", cell), ("state", state)), activated)]
