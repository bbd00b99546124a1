"""A look at a network before anything is done: what its parts could lose, and what that saves.

It takes samples, and the target's time: each group of channels is judged by second-order
statistics, and a few widths of each operator are timed; of ranks, those that are faster.
"""

from __future__ import annotations

import onnx

from tvmcomp.compress.channels.groups import find_groups
from tvmcomp.compress.channels.study import study
from tvmcomp.compress.cost import OperatorTimes
from tvmcomp.compress.low_rank.options import LowRankSettings
from tvmcomp.compress.low_rank.study import study as low_rank_study
from tvmcomp.compress.low_rank.study import table as low_rank_table
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
    found: list[Sensitivity] = []
    if find_groups(model).groups:
        lanes = max(1, times.target.vector_bits // 32)
        found += study(model, parts.fit, times.in_turns, lanes, seed, progress).table()
    ranks = low_rank_study(model, parts, LowRankSettings(drop=0.0), times, "float", progress)
    if any(each.candidates for each in ranks):
        found += low_rank_table(ranks, times.seconds(model))
    return tuple(found)
