"""The accuracy guard: keeps in float the few operators whose quantization harms the network.

The harm is measured at the network's outputs: the signal-to-quantization-noise ratio (SQNR) with
one operator quantized at a time. The operators are left out of quantization in the order of that
harm, as few as bring the whole to the stated ratio on samples that no range and no weight was
fitted on. Where the ratio allows, what is left out still stores its weight as int8: harm comes from
activations mostly, and the artifact stays a quarter of the float one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tvmcomp.qparams import QParams
from tvmcomp.quantize.output_noise import OutputNoise, sqnr_db
from tvmcomp.quantize.probe import Probe
from tvmcomp.tvm_types import Var


@dataclass(frozen=True)
class GuardResult:
    """What the guard decided.

    Attributes:
        keep_float: names of the operators that stay float.
        weight_only: those of them whose weights can be stored as int8 all the same.
        sqnr_db: SQNR at the outputs with everything else quantized, in dB, as
            :func:`bounded_sqnr_db` bounds it.
        all_quantized_db: the same with nothing kept.
        alone_db: for each operator, the SQNR with it alone quantized; empty where the guard had no
            need to measure.
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
        held_out: samples that nothing was fitted on; they decide what is good enough.
        ranking: a few samples that rank the operators by harm.
        quantized_without: names of the operators that are still quantized when the given ones
            stay float: without its neighbours an operator may not be worth it.
    """

    def __init__(
        self,
        probe: Probe,
        qparams: Mapping[Var, QParams],
        held_out: Sequence[list[np.ndarray]],
        ranking: Sequence[list[np.ndarray]],
        quantized_without: Callable[[Collection[str]], Collection[str]],
    ) -> None:
        self.probe = probe
        self.quantized_without = quantized_without
        self.qparams = qparams
        self.ranking = ranking
        self.names = [op.name for op in probe.operators if op.rounds]
        self.held_out = OutputNoise(probe, held_out)

    def network_sqnr(self, on: Collection[str], weights_only: Collection[str] = ()) -> float:
        """The ratio of the worst output on the held-out samples with ``on`` quantized, in dB, as
        :func:`bounded_sqnr_db` bounds it.

        Of the anchors ``weights_only`` the weights are.
        """
        return self.held_out.sqnr_db(self.qparams, on, weights_only)

    def choose(self, min_sqnr_db: float | None, step: Callable[[], None]) -> GuardResult:
        """Find the smallest set to keep in float; ``step`` is called after each measurement.

        What is kept stores its weight as int8 where that alone does next to no harm.
        """
        total = self.network_sqnr(self.names)
        if min_sqnr_db is None or total >= min_sqnr_db or not self.names:
            return GuardResult((), (), total, total)
        alone = {}
        ranking = OutputNoise(self.probe, self.ranking)
        for name in self.names:
            alone[name] = ranking.sqnr_db(self.qparams, {name})
            step()
        ranked = sorted(self.names, key=lambda name: alone[name])
        anchors = {operator.name for operator in self.probe.operators if operator.is_anchor}
        weights = anchors
        keep = self._shortest_prefix(ranked, weights, min_sqnr_db, step)
        if keep is None:
            # Weights do harm as well: those of what is kept are stored in 16 bits.
            weights = set()
            keep = self._shortest_prefix(ranked, weights, min_sqnr_db, step) or set(ranked)
        # Noise does not simply add up: some of them may be harmless without the others.
        for name in reversed([name for name in ranked if name in keep][-_SECOND_LOOKS:]):
            if len(keep) == 1:
                break
            if self._kept_sqnr(keep - {name}, weights, step) >= min_sqnr_db:
                keep.discard(name)
        # A weight that does harm by itself is not worth the bytes.
        weights = {
            name
            for name in keep & weights
            if self.network_sqnr((), {name}) >= min_sqnr_db + _WEIGHT_MARGIN_DB
        }
        return GuardResult(
            tuple(name for name in self.names if name in keep),
            tuple(name for name in self.names if name in keep & weights),
            self._kept_sqnr(keep, weights, step),
            total,
            alone,
        )

    def _kept_sqnr(
        self, keep: Collection[str], weights: set[str], step: Callable[[], None]
    ) -> float:
        """SQNR with ``keep`` in float, those of them in ``weights`` with int8 weights."""
        ratio = self.network_sqnr(self.quantized_without(keep), weights & set(keep))
        step()
        return ratio

    def _shortest_prefix(
        self,
        ranked: Sequence[str],
        weights: set[str],
        min_sqnr_db: float,
        step: Callable[[], None],
    ) -> set[str] | None:
        """The first few of ``ranked`` that reach the ratio when kept; None where all don't."""

        def reaches(count: int) -> bool:
            return self._kept_sqnr(set(ranked[:count]), weights, step) >= min_sqnr_db

        low, high = 0, 1
        while not reaches(high):
            if high == len(ranked):
                return None
            low, high = high, min(2 * high, len(ranked))
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if reaches(middle) else (middle, high)
        return set(ranked[:high])

    def operator_sqnr(
        self, on: Collection[str], weights_only: Collection[str] = ()
    ) -> dict[str, float]:
        """The ratio of each operator's own result with ``on`` quantized, in dB: the median over the
        ranking's samples, for its size a sample at a time.
        """
        ratios: dict[str, list[float]] = {}
        for inputs in self.ranking:
            _, observed = self.probe.run(inputs)
            observed = {var: array.copy() for var, array in observed.items()}
            _, actual = self.probe.run(inputs, self.qparams, on, weights_only)
            for op in self.probe.operators:
                if op.var in observed:
                    ratio = sqnr_db(observed[op.var], actual[op.var])
                    ratios.setdefault(op.name, []).append(ratio)
        return {name: float(np.median(values)) for name, values in ratios.items()}


#: So much better than what is asked for the ratio with only an int8 weight must be.
_WEIGHT_MARGIN_DB = 10.0
#: How many of the kept operators are tried again in integers, the least harmful first.
_SECOND_LOOKS = 24
