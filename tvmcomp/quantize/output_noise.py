"""The outputs of an instrumented network, against those in float."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from tvmcomp.qparams import QParams
from tvmcomp.quantize.probe import Probe
from tvmcomp.quantize.sqnr import bounded_sqnr_db, in_parts
from tvmcomp.tvm_types import Var


class OutputNoise:
    """The outputs on some samples, against the float network's.

    Args:
        probe: the instrumented network.
        samples: its inputs, a sample at a time.
    """

    def __init__(self, probe: Probe, samples: Sequence[list[np.ndarray]]) -> None:
        self.probe = probe
        self.samples = samples
        self.reference = self._outputs(None, ())

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

    def judged(self, outputs: Sequence[np.ndarray]) -> float:
        """The bounded ratio of the worst part of the worst of the given outputs, each stacked over
        the samples."""
        each = list(zip(self.reference, outputs, self.probe.output_parts, strict=True))
        real = [output for output in each if output[0].dtype.kind == "f"] or each
        pairs = (pair for output in real for pair in in_parts(*output))
        return min((bounded_sqnr_db(*pair) for pair in pairs), default=float("inf"))

    def _outputs(
        self, qparams: Any, on: Collection[str], weights_only: Collection[str] = ()
    ) -> list[np.ndarray]:
        """Each output, stacked over the samples."""
        runs = []
        for inputs in self.samples:
            outputs, _ = self.probe.run(inputs, qparams, on, weights_only)
            runs.append([array.copy() for array in outputs])
        return [np.stack(arrays) for arrays in zip(*runs, strict=True)]
