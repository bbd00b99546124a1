"""A look at a network before anything is done: what its parts could lose, and what that saves.

It takes samples, and the target's time: each group of channels is judged by second-order
statistics, and a few widths of each operator are timed.
"""

from __future__ import annotations

import onnx

from tvmcomp.compress.channels.groups import find_groups
from tvmcomp.compress.channels.study import study
from tvmcomp.compress.cost import OperatorTimes
from tvmcomp.compress.samples import Parts
from tvmcomp.compress.sensitivity import Sensitivity
from tvmcomp.progress import Progress


def look(
    model: onnx.ModelProto, parts: Parts, times: OperatorTimes, seed: int, progress: Progress
) -> tuple[Sensitivity, ...]:
    """What each part of a prepared network could lose.

    Raises:
        TvmcompError: torch can't compute the network, or an operator can't be built.
    """
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        return ()
    if not find_groups(model).groups:
        return ()
    lanes = max(1, times.target.vector_bits // 32)
    found = study(model, parts.fit, times.in_turns, lanes, seed, progress)
    return tuple(found.table())
