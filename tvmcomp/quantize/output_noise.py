"""The outputs of an instrumented network, against those in float."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from tvmcomp.qparams import QParams
from tvmcomp.quantize.output_parts import Part
from tvmcomp.quantize.probe import Probe
from tvmcomp.quantize.sqnr import bounded_sqnr_db, in_parts, judged_places, powers
from tvmcomp.tvm_types import Var

#: More noise than is allowed by this factor is no error of the sums.
_ROUNDING = 1 + 1e-9


class OutputNoise:
    """The outputs on some samples, against the float network's.

    Args:
        probe: the instrumented network.
        samples: its inputs, a sample at a time.
    """

    def __init__(self, probe: Probe, samples: Sequence[list[np.ndarray]]) -> None:
        self.probe = probe
        self.samples = samples
        #: Runs of the network so far.
        self.runs = 0
        self.reference = self._outputs(None, ())
        #: The samples in the order that :meth:`reaches` runs them: those that decided come first.
        self._order = list(range(len(samples)))

    def sqnr_db(
        self,
        qparams: Mapping[Var, QParams],
        on: Collection[str],
        weights_only: Collection[str] = (),
    ) -> float:
        """The bounded ratio of the worst part of the outputs with ``on`` quantized, in dB.

        Of the anchors ``weights_only`` the weights are.
        """
        return self.judged(self._outputs(qparams, on, weights_only))

    def reaches(
        self,
        least_db: float,
        qparams: Mapping[Var, QParams],
        on: Collection[str],
        weights_only: Collection[str] = (),
    ) -> bool:
        """Whether :meth:`sqnr_db` is at least ``least_db``.

        Where it is not, that often shows before all samples have run: the bound on the mean lies
        above the mean, and no sample makes up for another's noise.
        """
        most = len(self.samples) * float(10 ** (-least_db / 10))
        noise: Any = 0.0
        outputs: dict[int, list[np.ndarray]] = {}
        for index in list(self._order):
            outputs[index] = self._run(self.samples[index], qparams, on, weights_only)
            noise = noise + self._shares(index, outputs[index])
            if (noise > most * _ROUNDING).any():
                self._order.remove(index)
                self._order.insert(0, index)
                return False
        runs = (outputs[index] for index in range(len(self.samples)))
        stacked = [np.stack(arrays) for arrays in zip(*runs, strict=True)]
        return self.judged(stacked) >= least_db

    def judged(self, outputs: Sequence[np.ndarray]) -> float:
        """The bounded ratio of the worst part of the worst of the given outputs, each stacked over
        the samples."""
        pairs = (
            pair
            for i in self._real()
            for pair in in_parts(self.reference[i], outputs[i], self.probe.output_parts[i])
        )
        return min((bounded_sqnr_db(*pair) for pair in pairs), default=float("inf"))

    def _real(self) -> Sequence[int]:
        """Which outputs are judged: those of real numbers, where there are any."""
        each = range(len(self.reference))
        return [i for i in each if self.reference[i].dtype.kind == "f"] or each

    def _shares(self, index: int, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """The noise of one sample, as a share of the signal of all, of each judged part."""
        shares = []
        for i in self._real():
            reference, actual = self.reference[i][index, None], outputs[i][None]
            for at, signal in zip(self._places[i], self._signals[i], strict=True):
                noise = float(powers(reference[at], actual[at])[1][0])
                shares.append(noise / signal if signal else np.inf if noise else 0.0)
        return np.array(shares)

    @cached_property
    def _places(self) -> list[list[Part]]:
        """Of each output, where its judged parts lie."""
        pairs = zip(self.reference, self.probe.output_parts, strict=True)
        return [list(judged_places(*pair)) for pair in pairs]

    @cached_property
    def _signals(self) -> list[list[float]]:
        """Of each output, the power of each of its parts."""
        return [
            [powers(array[at], array[at])[0] for at in places]
            for array, places in zip(self.reference, self._places, strict=True)
        ]

    def _outputs(
        self, qparams: Any, on: Collection[str], weights_only: Collection[str] = ()
    ) -> list[np.ndarray]:
        """Each output, stacked over the samples."""
        runs = (self._run(inputs, qparams, on, weights_only) for inputs in self.samples)
        return [np.stack(arrays) for arrays in zip(*runs, strict=True)]

    def _run(
        self,
        inputs: list[np.ndarray],
        qparams: Any,
        on: Collection[str],
        weights_only: Collection[str],
    ) -> list[np.ndarray]:
        self.runs += 1
        outputs, _ = self.probe.run(inputs, qparams, on, weights_only)
        return [array.copy() for array in outputs]
