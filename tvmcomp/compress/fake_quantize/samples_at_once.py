"""Networks of one sample, run on many: together where torch can, else one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import onnx
import torch

from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.fake_quantize.graph import Graph
from tvmcomp.compress.operators.table import Tensor
from tvmcomp.compress.samples import Sample
from tvmcomp.errors import ModelError

#: Elements of the tensors that are asked for, of the samples that run together.
_MOST_ELEMENTS = 2**25
_MOST_TOGETHER = 64


def run_samples(
    network: BatchedNetwork, samples: Sequence[Sample], wanted: Sequence[str]
) -> Iterator[dict[str, Tensor]]:
    """The tensors ``wanted``, of some samples at a time, with an axis of samples in front.

    No gradients. Raises ModelError as :meth:`BatchedNetwork.run` does.
    """
    count = samples_together(network.model, wanted)
    names = network.network.inputs
    for start in range(0, len(samples), count):
        inputs = stacked(names, samples[start : start + count])
        with torch.no_grad():
            yield network.run(dict(zip(names, inputs, strict=True)), wanted)


def stacked(names: Sequence[str], samples: Sequence[Sample]) -> list[Tensor]:
    """The inputs called ``names``, each of all ``samples``."""
    return [
        torch.from_numpy(np.stack([np.asarray(sample[name]) for sample in samples]))
        for name in names
    ]


def over_samples(function: Callable[..., tuple[Tensor, ...]], inputs: Sequence[Tensor]) -> tuple:
    """``function`` of each sample; inputs and results have an axis of samples in front."""
    try:
        return tuple(torch.func.vmap(function)(*inputs))
    except (ModelError, NotImplementedError, RuntimeError, TypeError, ValueError):
        # What data decide, or numpy computes: a sample at a time.
        results = [function(*sample) for sample in zip(*inputs, strict=True)]
        return tuple(torch.stack(each) for each in zip(*results, strict=True))


def samples_together(model: onnx.ModelProto, wanted: Sequence[str]) -> int:
    """How many samples to run at once, so that their tensors don't fill the memory."""
    graph = Graph(model)
    elements = sum(math.prod(graph.shape(name) or (1,)) for name in wanted)
    largest = max((math.prod(graph.shape(n) or (1,)) for n in graph.producer), default=1)
    return int(np.clip(_MOST_ELEMENTS // max(elements, 4 * largest), 1, _MOST_TOGETHER))
