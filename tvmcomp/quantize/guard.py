"""The accuracy guard: keeps in float the few operators whose quantization harms the network.

The harm is measured at the network's outputs: the signal-to-quantization-noise ratio (SQNR) with
one operator, or a group of them that does little harm, quantized at a time. The operators are left
out of quantization in the order of that harm, as few as bring the whole to the stated ratio on
samples that no range and no weight was fitted on. Where the ratio allows, what is left out still
stores its weight as int8: harm comes from activations mostly, and the artifact stays a quarter of
the float one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tvmcomp.progress import Progress, Step
from tvmcomp.qparams import QParams
from tvmcomp.quantize.fewest import fewest, most_measurements
from tvmcomp.quantize.noisy_groups import noise_share, noisy_groups, ranked_groups
from tvmcomp.quantize.output_noise import OutputNoise
from tvmcomp.quantize.probe import Probe
from tvmcomp.quantize.sqnr import sqnr_db
from tvmcomp.tvm_types import Var


@dataclass(frozen=True)
class GuardResult:
    """What the guard decided.

    Attributes:
        keep_float: names of the operators that stay float.
        weight_only: those of them whose weights can be stored as int8 all the same.
        sqnr_db: SQNR at the outputs with everything else quantized, in dB, as
            :func:`~tvmcomp.quantize.sqnr.bounded_sqnr_db` bounds it.
        all_quantized_db: the same with nothing kept.
        alone_db: the SQNR with an operator alone quantized, of those that the guard had to look at.
    """

    keep_float: tuple[str, ...]
    weight_only: tuple[str, ...]
    sqnr_db: float
    all_quantized_db: float
    alone_db: dict[str, float] = field(default_factory=dict)


class Guard:
    """Measures what quantization does to the outputs, and chooses what stays float.

    Args:
        probe: the instrumented network.
        qparams: the parameters of what it reads.
        held_out: the noise on samples that nothing was fitted on; it decides what is good enough.
        ranking: a few samples that rank the operators by harm.
        quantized_without: names of the operators that are still quantized when the given ones
            stay float: without its neighbours an operator may not be worth it.
        rankings: measurements that rank the operators, at most.
        looks: how many of the kept operators are tried again in integers, at most.
        retrials: runs of the network that this may take: once they are spent, the rest stays.
    """

    def __init__(
        self,
        probe: Probe,
        qparams: Mapping[Var, QParams],
        held_out: OutputNoise,
        ranking: Sequence[list[np.ndarray]],
        quantized_without: Callable[[Collection[str]], Collection[str]],
        rankings: int,
        looks: int,
        retrials: int,
    ) -> None:
        self.probe = probe
        self.quantized_without = quantized_without
        self.qparams = qparams
        self.ranking = ranking
        self.rankings = rankings
        self.looks = looks
        self.retrials = retrials
        self.names = [op.name for op in probe.operators if op.rounds]
        self.held_out = held_out

    def network_sqnr(self, on: Collection[str], weights_only: Collection[str] = ()) -> float:
        """The ratio of the worst output on the held-out samples with ``on`` quantized, in dB, as
        :func:`~tvmcomp.quantize.sqnr.bounded_sqnr_db` bounds it.

        Of the anchors ``weights_only`` the weights are.
        """
        return self.held_out.sqnr_db(self.qparams, on, weights_only)

    def choose(self, min_sqnr_db: float | None, progress: Progress) -> GuardResult:
        """Find the smallest set to keep in float; ``progress`` is told of each search, of so many
        measurements at most.

        What is kept stores its weight as int8 where that alone does next to no harm.
        """
        total = self.network_sqnr(self.names)
        if min_sqnr_db is None or total >= min_sqnr_db or not self.names:
            return GuardResult((), (), total, total)
        most = min(self.rankings, 2 * len(self.names))
        step = progress.stage("finding what harms", most)
        ranked, alone = self._ranked(min_sqnr_db, step)
        anchors = {operator.name for operator in self.probe.operators if operator.is_anchor}
        weights = anchors

        def reaches(keep: set[str]) -> bool:
            quantized, rest = self.quantized_without(keep), weights & set(keep)
            enough = self.held_out.reaches(min_sqnr_db, self.qparams, quantized, rest)
            step()
            return enough

        most = most_measurements(len(ranked))
        step = progress.stage("choosing what stays float", most)
        keep = fewest(ranked, reaches)
        if keep is None:
            # Weights do harm as well: those of what is kept are stored in 16 bits.
            weights = set()
            step = progress.stage("choosing what stays float", most)
            keep = fewest(ranked, reaches) or set(ranked)
        # Noise does not simply add up: some of them may be harmless without the others. The least
        # harmful are tried first.
        tried = [name for name in ranked if name in keep][-self.looks :]
        runs = self.held_out.runs + self.retrials
        step = progress.stage("choosing what needn't", len(tried))
        for name in reversed(tried):
            if len(keep) == 1 or self.held_out.runs > runs:
                break
            if reaches(keep - {name}):
                keep.discard(name)
        step = progress.stage("weighing float weights", self.looks)
        weights = self._worth_storing(keep & weights, min_sqnr_db + _WEIGHT_MARGIN_DB, step)
        return GuardResult(
            tuple(name for name in self.names if name in keep),
            tuple(name for name in self.names if name in keep & weights),
            self._kept_sqnr(keep, weights),
            total,
            alone,
        )

    def _ranked(self, min_sqnr_db: float, step: Step) -> tuple[list[str], dict[str, float]]:
        """The operators in falling order of harm, and the ratios of those measured alone, in dB."""
        ranking = OutputNoise(self.probe, self.ranking)

        def ratio(names: Sequence[str]) -> float:
            step()
            return ranking.sqnr_db(self.qparams, set(names))

        groups = ranked_groups(self.names, ratio, min_sqnr_db, self.rankings)
        single = [group for group in groups if len(group.names) == 1]
        return (
            [name for group in groups for name in group.names],
            {group.names[0]: _decibels(group.noise) for group in single},
        )

    def _worth_storing(self, anchors: Collection[str], min_sqnr_db: float, step: Step) -> set[str]:
        """Those of ``anchors`` whose weights do no harm by themselves: the others are not worth the
        bytes that 8 bits save.
        """
        if not anchors:
            return set()

        def noise(names: Sequence[str]) -> float:
            step()
            return noise_share(self.network_sqnr((), names))

        harmless = noise_share(min_sqnr_db)
        ordered = [name for name in self.names if name in anchors]
        groups = noisy_groups(ordered, noise, harmless, self.looks)
        return {name for group in groups if group.noise <= harmless for name in group.names}

    def _kept_sqnr(self, keep: Collection[str], weights: set[str]) -> float:
        """SQNR with ``keep`` in float, those of them in ``weights`` with int8 weights."""
        return self.network_sqnr(self.quantized_without(keep), weights & set(keep))

    def operator_sqnr(
        self, on: Collection[str], weights_only: Collection[str] = ()
    ) -> dict[str, float]:
        """The ratio of each operator's own result with ``on`` quantized, in dB: the median over the
        ranking's samples, for its size a sample at a time.

        Of what stays in a kernel's registers: that of the first tensor in memory made of it.
        """
        stored = self.probe.stored
        ratios: dict[Any, list[float]] = {}
        for inputs in self.ranking:
            _, observed = self.probe.run(inputs)
            expected = {var: _some_of(array) for var, array in observed.items()}
            _, actual = self.probe.run(inputs, self.qparams, on, weights_only)
            for var, array in expected.items():
                ratios.setdefault(var, []).append(sqnr_db(array, _some_of(actual[var])))
        return {
            op.name: float(np.median(ratios[stored[op.var]]))
            for op in self.probe.operators
            if op.var in stored
        }


#: So much better than what is asked for the ratio with only an int8 weight must be.
_WEIGHT_MARGIN_DB = 10.0
#: Elements of a tensor that tell its ratio to a tenth of a dB.
_MOST_ELEMENTS = 1 << 16


def _some_of(array: np.ndarray) -> np.ndarray:
    """A copy of elements of ``array`` at equal distances, which no number of channels divides."""
    return array.reshape(-1)[:: array.size // _MOST_ELEMENTS | 1].copy()


def _decibels(share: float) -> float:
    return float("inf") if share == 0 else -10 * math.log10(share)
