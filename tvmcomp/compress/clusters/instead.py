"""Weights whose few values are better anywhere than in even steps, at the same size.

Even steps are coded by their entropy, and so are the indices of a code book: a book of as many
values as keep to the bytes that the even codes take is what they are compared with. Both are tried
with all else in float, and a book is taken where it makes surely less noise at the outputs. That
is seldom so: of smooth distributions even steps, coded by their entropy, come close to what is
possible (Gish and Pierce, "Asymptotically efficient quantizing", 1968); of weights that have few
different values, or lie in heaps, they don't.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import torch

from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.clusters.choose import Clustered, in_integers
from tvmcomp.compress.clusters.code_book import nearest_index
from tvmcomp.compress.fake_quantize.alone import Alone, weights_alone
from tvmcomp.compress.fake_quantize.bits import entropy
from tvmcomp.compress.fake_quantize.measure import Yardstick
from tvmcomp.compress.fake_quantize.weights import Weight
from tvmcomp.compress.samples import Parts

#: Samples that harm is measured with: each weight takes two runs over them.
_MEASURED_WITH = 16
#: With more bits than these even steps do no harm to speak of.
_MOST_BITS = 6
#: Of the noise of even steps: a book that makes no less is no better, as far as can be told.
_LESS = 0.8
#: Books that are tried for a weight.
_TRIES = 4


def clusters_instead(
    model: onnx.ModelProto,
    weights: Sequence[Weight],
    bits: Mapping[str, int],
    parts: Parts,
    step: Callable[[], None] = lambda: None,
) -> dict[str, int]:
    """The operators whose weight a book serves better: node -> values of the book.

    Args:
        model: a prepared float graph.
        weights: of it.
        bits: tensor -> bits of its even steps.
        parts: values are fitted on ``fit``, and harm is measured on ``watch``.
        step: is called after each weight.
    """
    yardstick = Yardstick(model, parts.watch[:_MEASURED_WITH])
    network = BatchedNetwork(model, yardstick.samples)
    parameters = network.network.weights()
    of_node = Counter(weight.node for weight in weights)

    def noise(weight: Weight, values: np.ndarray) -> float:
        parameter = parameters[weight.tensor]
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(values))
            found = yardstick.noise(network)
            parameter.copy_(kept)
        return found

    chosen = {}
    # Of a recurrent layer's weights one node has several: these go together.
    asked = [w for w in weights if bits[w.tensor] <= _MOST_BITS and of_node[w.node] == 1]
    for alone in weights_alone(model, asked, parts.fit):
        weight = alone.weight
        codes, even = alone.on_grid(bits[weight.tensor])
        found = _book_within(alone, entropy(codes) * codes.size / 8)
        if found is not None:
            count, clustered = found
            if noise(weight, alone.stored(clustered.values)) < _LESS * noise(weight, even):
                chosen[weight.node] = count
        step()
    return chosen


def _book_within(alone: Alone, room: float) -> tuple[int, Clustered] | None:
    """A book, and how many values were asked for, whose indices and values take no more bytes than
    ``room``; None where none of two values and more does."""
    weight, size = alone.weight, alone.matrices.size
    count = int(2 ** (8 * room / size)) + 1
    for _ in range(_TRIES):
        if count < 2:
            return None
        made = in_integers(
            alone.matrices,
            alone.square,
            count,
            lambda scale: weight.scale_matrix(weight.shared_scale(scale)),
        )
        assert made.scale is not None
        steps = np.where(made.scale > 0, made.scale, 1)[..., None]
        indices = nearest_index(made.values / steps, made.book)
        taken = entropy(indices) * size / 8 + len(made.book)
        if taken <= room:
            return count, made
        # So many fewer as the bits too many say, at least one.
        count = min(count - 1, int(count * 2 ** (8 * (room - taken) / size)))
    return None
