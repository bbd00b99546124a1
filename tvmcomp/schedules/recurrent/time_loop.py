"""A recurrent layer as one kernel: for each direction a loop over time, its state in the cache.

    for each direction, on threads of their own
        state, cell = the initial ones
        for each step
            for each phase, block of units
                for each tile of its columns, of rows
                    sums = x of the step + state x weights      in registers
                new state, new cell = the cell's equations      row by row
        results = state, cell

State, cell and the like have whole vectors of units; ``x`` and the results have not, and their last
vector is taken in parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tvmcomp.recurrent import RecurrentCell
from tvmcomp.schedules.recurrent.direction import Direction
from tvmcomp.schedules.recurrent.gates import phases
from tvmcomp.schedules.recurrent.layer import Layer
from tvmcomp.schedules.rows.loop_nest import PARALLEL, SERIAL, index, loop, sequence
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr, Tensor

te = tvm.te


def recurrent_layer(
    cell: RecurrentCell,
    x: Tensor,
    weights: Sequence[Tensor],
    operands: Mapping[str, Tensor],
    wanted: Sequence[int],
    target: TargetDescription,
) -> list[Tensor]:
    """The layer as TE tensors.

    Args:
        cell: what it computes.
        x: as of :func:`tvmcomp.recurrent.recurrent`.
        weights: of each phase, packed.
        operands: those of ``cell.operands``, by name; in place of ``weight_scale`` those of
            :func:`of_integers`.
        wanted: numbers of the results that are read: of all states, the last state, the last cell.
        target: the device.

    Returns:
        The results of ``wanted``.
    """
    shapes = cell.result_shapes
    dtype = str(x.dtype)
    names = list(operands)

    def body(inputs: Any, outputs: Any) -> Any:
        given = dict(zip(names, inputs[1 + len(weights) :], strict=True))
        results = dict(zip(wanted, outputs, strict=True))
        packed = inputs[1 : 1 + len(weights)]
        layer = Layer(cell, dtype, inputs[0], packed, given, results, target)
        return _all_directions(layer)

    results = te.extern(
        [shapes[number] for number in wanted],
        [x, *weights, *(operands[name] for name in names)],
        body,
        name=cell.kind,
        dtype=[(cell.result_dtypes or [dtype] * len(shapes))[number] for number in wanted],
    )
    return list(results) if len(wanted) > 1 else [results]


def _all_directions(layer: Layer) -> Any:
    """The kernel's statement."""

    def direction(d: PrimExpr, like: int) -> Any:
        """The direction ``d``, with the activations of the direction ``like``."""
        return Direction(layer, d, phases(layer.cell, layer.cell.activations[like])).statement()

    count = layer.cell.directions
    if layer.are_apart:
        return sequence([direction(index(d), d) for d in range(count)])
    kind = PARALLEL if layer.directions_are_spread else SERIAL
    return loop(count, lambda d: direction(d, 0), kind, "direction")
