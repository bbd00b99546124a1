"""Moments of what reaches a weight that several operators multiply by: of all of them.

A head over images of several sizes, a tower for each of two inputs, a cell that is unrolled: what
reaches the first of them says little of what reaches the others (a cell's first state is zero).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from tvmcomp.compress.fake_quantize.lockstep import samples_that_fit
from tvmcomp.compress.fake_quantize.pair import JointMoments, Pair
from tvmcomp.compress.samples import Sample
from tvmcomp.compress.sparsify.prunable import Prunable


def moments_of_shared(
    model: onnx.ModelProto, chosen: Sequence[Prunable], samples: Sequence[Sample]
) -> Mapping[str, JointMoments]:
    """By tensor, of the weights that several operators multiply by: the mean over these, each for
    as much as the others, as the network is.

    Args:
        model: a prepared float graph.
        chosen: weights, those of one operator among them.
        samples: that the network runs on; of very large tensors not all are used.
    """
    shared = {node: each for each in chosen if len(each.nodes) > 1 for node in each.nodes}
    if not shared:
        return {}
    pair = Pair(model, model, samples[: samples_that_fit(model, 2)])
    squares: dict[str, list[np.ndarray]] = {}
    for index, node in enumerate(pair.changed.network.nodes):
        each = shared.get(node.name)
        if each is not None:
            square = pair.moments(each.weight, node).square
            squares.setdefault(each.weight.tensor, []).append(square)
        pair.run(index)
    means = {tensor: np.mean(found, axis=0) for tensor, found in squares.items()}
    return {tensor: JointMoments(mean, np.zeros_like(mean)) for tensor, mean in means.items()}
