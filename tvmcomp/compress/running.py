"""Run a graph on samples, many at once where torch can: what it gives, without gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.called_metric import CalledMetric, CalledScorer
from tvmcomp.compress.ends import are_scores
from tvmcomp.compress.fake_quantize.onnx_outputs import parts_of_outputs
from tvmcomp.compress.network import TrainableNetwork
from tvmcomp.compress.samples import Sample
from tvmcomp.compress.score import Score, Scorer
from tvmcomp.model import TensorSpec
from tvmcomp.runtime.metrics import Metric

_AT_ONCE = 16
#: Samples that tell what an output is.
_SEEN = 32


class Runner:
    """A graph that takes one sample, run on several."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self._batched: BatchedNetwork | None = None
        self._plain: TrainableNetwork | None = None

    def __call__(self, samples: Sequence[Sample]) -> dict[str, NDArray]:
        """What it gives for each: ``(N, *shape)``, by output.

        Raises:
            ModelError: a node can't be computed.
        """
        with torch.no_grad():
            if self._plain is None:
                try:
                    return self._together(samples)
                # It can't take many at once; whether it can take one is seen below.
                except Exception:  # noqa: BLE001
                    self._plain = TrainableNetwork(self.model)
            names = self._plain.outputs
            rows = [self._plain(*_tensors(self._plain, sample)) for sample in samples]
        return {
            name: np.stack([_array(row[index]) for row in rows]) for index, name in enumerate(names)
        }

    def _together(self, samples: Sequence[Sample]) -> dict[str, NDArray]:
        if self._batched is None:
            self._batched = BatchedNetwork(self.model, samples)
        network = self._batched.network
        inputs = {
            name: torch.from_numpy(np.stack([sample[name] for sample in samples]))
            for name in network.inputs
        }
        results = self._batched.run(inputs, network.outputs)
        return {name: _array(results[name]) for name in network.outputs}


def gives_scores(network: Runner, samples: Sequence[Sample]) -> bool:
    """Whether the first output is a row of scores of classes; see
    :func:`~tvmcomp.compress.ends.are_scores`."""
    outputs = network(samples[:_SEEN])
    return are_scores(network.model, outputs[network.model.graph.output[0].name])


def in_turn(samples: Sequence[Sample]) -> Iterator[slice]:
    """Slices of ``samples`` that are run together."""
    return (slice(start, start + _AT_ONCE) for start in range(0, len(samples), _AT_ONCE))


def compared(
    before: Runner,
    after: Runner,
    samples: Sequence[Sample],
    metrics: Sequence[Metric | CalledMetric],
    outputs: Sequence[TensorSpec],
    labels: NDArray | None = None,
) -> list[Score]:
    """The scores of ``after`` beside ``before`` on ``samples``, one a metric; ``labels`` are one a
    sample."""
    joined = parts_of_outputs(before.model)
    parts = {spec.name: each for spec, each in zip(outputs, joined, strict=True)}
    scorers = [
        CalledScorer(metric, outputs) if callable(metric) else Scorer(metric, outputs, parts)
        for metric in metrics
    ]
    for part in in_turn(samples):
        given = before(samples[part]), after(samples[part])
        for scorer in scorers:
            scorer.add(*given, None if labels is None else labels[part])
    return [scorer.score() for scorer in scorers]


def _tensors(network: TrainableNetwork, sample: Sample) -> list[Any]:
    return [torch.from_numpy(np.array(sample[name])) for name in network.inputs]


def _array(tensor: torch.Tensor) -> NDArray:
    plain = tensor.detach()  # an output may be a constant, which is a parameter
    array: NDArray = (plain.float() if plain.dtype is torch.bfloat16 else plain).numpy()
    return array
