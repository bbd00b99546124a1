"""Which integers a network's weights get: the nearest, or better ones, by measurement."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tvmcomp.progress import Progress
from tvmcomp.qparams import QParams
from tvmcomp.quantize.output_noise import OutputNoise
from tvmcomp.quantize.probe import Probe
from tvmcomp.quantize.round_weights import round_weights
from tvmcomp.quantize.rounded_weight import RoundedWeight
from tvmcomp.tvm_types import Var

NEAREST, GPTQ, CORRECTED = "nearest", "GPTQ", "GPTQ and bias correction"


@dataclass(frozen=True)
class Rounding:
    """The integers of a network's weights.

    Attributes:
        method: how they were found.
        weights: by the operator's name; what is missing has the nearest integers.
        sqnr_db: the ratio at the outputs with every operator quantized, by method.
    """

    method: str
    weights: dict[str, RoundedWeight]
    sqnr_db: dict[str, float]

    @property
    def best_db(self) -> float:
        """The ratio with these integers."""
        return self.sqnr_db[self.method]


def best_rounding(
    probe: Probe,
    qparams: Mapping[Var, QParams],
    samples: Sequence[list[np.ndarray]],
    noise: OutputNoise,
    on: Collection[str],
    progress: Progress,
) -> Rounding:
    """The best of nearest integers, GPTQ's, and those with corrected biases; the probe keeps it.

    Args:
        probe: the instrumented network, with nearest integers.
        qparams: the parameters of what it reads.
        samples: those that the integers are fitted on.
        noise: judges, on others.
        on: names of the operators that are quantized.
        progress: is told of each stage.
    """
    ratios = {NEAREST: noise.sqnr_db(qparams, on)}
    corrected = round_weights(probe, qparams, samples, progress)
    if not corrected:
        return Rounding(NEAREST, {}, ratios)
    found: dict[str, dict[str, RoundedWeight]] = {
        NEAREST: {},
        GPTQ: {name: replace(weight, correction=None) for name, weight in corrected.items()},
        CORRECTED: corrected,
    }
    nearest = {name: weight for name, weight in probe.rounded.items() if name in corrected}
    step = progress.stage("judging rounded weights", 2)
    for method in (GPTQ, CORRECTED):
        probe.round_to(found[method])
        ratios[method] = noise.sqnr_db(qparams, on)
        step()
    best = max(ratios, key=lambda method: ratios[method])  # of equals the first
    probe.round_to(found[best] or nearest)
    return Rounding(best, found[best], ratios)
