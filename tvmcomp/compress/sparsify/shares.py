"""How much sparsity each weight takes, so that all together harm least."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from tvmcomp.compress.fake_quantize.lockstep import samples_that_fit
from tvmcomp.compress.fake_quantize.pair import Pair
from tvmcomp.compress.samples import Sample
from tvmcomp.compress.sparsify.masks import keep_in_all
from tvmcomp.compress.sparsify.one_shot import damped
from tvmcomp.compress.sparsify.prunable import Prunable
from tvmcomp.compress.sparsify.uses import moments_of_shared

#: No weight loses more than this: what is left has to carry its operator's results.
_MOST = 0.97


def by_harm(
    model: onnx.ModelProto, chosen: Sequence[Prunable], sparsity: float, samples: Sequence[Sample]
) -> dict[str, float]:
    """The share of each weight's blocks to prune, by its tensor's name.

    A block's harm is what its absence does to the operator's results, as a share of their variance,
    were the inputs independent (Sun et al., "A Simple and Effective Pruning Approach for Large
    Language Models", arXiv:2306.11695). To count what the other weights can make up for did worse:
    layers of alike inputs then lose almost all.

    Args:
        model: a prepared float graph.
        chosen: the weights.
        sparsity: of all together.
        samples: that the network runs on.
    """
    shared = moments_of_shared(model, chosen, samples)
    pair = Pair(model, model, samples[: samples_that_fit(model, 2)])
    by_node = {each.weight.node: each for each in chosen}
    scores, blocks = {}, {}
    for index, node in enumerate(pair.changed.network.nodes):
        each = by_node.get(node.name)
        if each is not None:
            value = pair.parameters[each.weight.tensor].detach().numpy().astype(np.float64)
            matrices = each.weight.matrices(value)
            moments = shared.get(each.weight.tensor) or pair.moments(each.weight, node)
            square = damped(moments.square)
            results = np.einsum("gok,gok->", matrices @ square, matrices)
            harm = np.diagonal(square, axis1=-2, axis2=-1)[:, None, :]
            scores[each.weight.tensor] = matrices**2 * harm / max(float(results), 1e-30)
            blocks[each.weight.tensor] = each.block
        pair.run(index)
    kept = keep_in_all(scores, sparsity, blocks)
    return {name: min(_MOST, 1 - float(mask.mean())) for name, mask in kept.items()}
