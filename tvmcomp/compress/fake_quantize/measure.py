"""How far a network's outputs are from its teacher's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import onnx

from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.ends import are_scores
from tvmcomp.compress.fake_quantize.onnx_outputs import parts_of_outputs
from tvmcomp.compress.fake_quantize.samples_at_once import run_samples
from tvmcomp.compress.samples import Sample
from tvmcomp.quantize.sqnr import bounded_sqnr_db, in_parts


class Yardstick:
    """The teacher's outputs on some samples, to hold others' against."""

    def __init__(self, teacher: onnx.ModelProto, samples: Sequence[Sample]) -> None:
        self.samples = samples
        self.parts = parts_of_outputs(teacher)
        self.wanted = self._outputs(BatchedNetwork(teacher, samples))
        self._scores = are_scores(teacher, self.wanted[0])

    def noise(self, network: BatchedNetwork) -> float:
        """The mean square of the error over the variance, of the worst part of an output."""
        return max((_noise(*pair) for pair in self._pairs(network)), default=0.0)

    def sqnr_db(self, network: BatchedNetwork) -> float:
        """A lower bound on the ratio of signal to noise of the worst part of an output, in dB; see
        :func:`~tvmcomp.quantize.sqnr.bounded_sqnr_db`."""
        return min((bounded_sqnr_db(*pair) for pair in self._pairs(network)), default=math.inf)

    def _pairs(self, network: BatchedNetwork) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Each output that is not of integers, and each of its parts that is not 0 throughout: what
        the teacher gives, and ``network``."""
        got = self._outputs(network)
        for reference, actual, parts in zip(self.wanted, got, self.parts, strict=True):
            if reference.dtype.kind == "f":
                yield from in_parts(reference, actual, parts)

    def loss(self, network: BatchedNetwork) -> float:
        """Points of agreement that are lost where the first output is scores of classes, else
        percent of the variance."""
        wanted, got = self.wanted[0], self._outputs(network)[0]
        if not self._scores:
            return 100 * self.noise(network)
        scores = (array.reshape(len(array), -1).argmax(1) for array in (wanted, got))
        return 100 * float(np.mean(np.not_equal(*scores)))

    def _outputs(self, network: BatchedNetwork) -> list[np.ndarray]:
        names = network.network.outputs
        parts = list(run_samples(network, self.samples, names))
        return [np.concatenate([part[name].numpy() for part in parts]) for name in names]


def _noise(wanted: np.ndarray, got: np.ndarray) -> float:
    wanted = wanted.astype(np.float64)
    finite = np.isfinite(wanted)
    if not (np.isfinite(got) == finite).all():
        return float("inf")
    error = float(np.mean(np.square(wanted - got, where=finite, out=np.zeros(wanted.shape))))
    signal = float(np.var(wanted[finite])) if finite.any() else 0.0
    return error / signal if signal else float(error > 0) * float("inf") if error else 0.0
