"""The accuracy guard: keeps in float the few operators whose quantization harms the network.

The harm is measured, on calibration samples, at the network's outputs: the signal-to-quantization-
noise ratio (SQNR) with one operator quantized at a time. The operators are left out of
quantization in the order of that harm, as few as bring the whole to the stated ratio. Where the
ratio allows, what is left out still stores its weight as int8: harm comes from activations mostly,
and the artifact stays a quarter of the float one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tvmcomp.qparams import QParams
from tvmcomp.quantize.probe import Probe
from tvmcomp.tvm_types import Var


@dataclass(frozen=True)
class GuardResult:
    """What the guard decided.

    Attributes:
        keep_float: names of the operators that stay float.
        weight_only: those of them whose weights can be stored as int8 all the same.
        sqnr_db: SQNR at the outputs with everything else quantized, in dB.
        all_quantized_db: the same with nothing kept.
        alone_db: for each operator, the SQNR with it alone quantized; empty where the guard had no
            need to measure.
    """

    keep_float: tuple[str, ...]
    weight_only: tuple[str, ...]
    sqnr_db: float
    all_quantized_db: float
    alone_db: dict[str, float] = field(default_factory=dict)


def sqnr_db(reference: np.ndarray, actual: np.ndarray) -> float:
    """Signal-to-quantization-noise ratio in dB: the variance of ``reference`` over the mean square
    of the error. A constant offset is no signal, so this never exceeds the plain power ratio.
    """
    reference = reference.astype(np.float64)
    finite = np.isfinite(reference)
    if not finite.all():
        if not (np.isfinite(actual) == finite).all():
            return float("-inf")
        reference, actual = reference[finite], actual[finite]
    if not np.isfinite(actual).all():
        return float("-inf")
    noise = float(np.mean((reference - actual) ** 2)) if reference.size else 0.0
    signal = float(np.var(reference)) if reference.size else 0.0
    if noise == 0:
        return float("inf")
    if signal == 0:
        # A constant output: its own size is all there is to compare with.
        signal = float(np.mean(reference**2))
    return 10 * float(np.log10(signal / noise)) if signal else float("-inf")


class Guard:
    """Measures what quantization does to the outputs, and chooses what stays float.

    Args:
        probe: the instrumented network.
        qparams: the parameters of what it reads.
        samples: its inputs, a sample at a time.
        quantized_without: names of the operators that are still quantized when the given ones
            stay float: without its neighbours an operator may not be worth it.
    """

    def __init__(
        self,
        probe: Probe,
        qparams: Mapping[Var, QParams],
        samples: Sequence[list[np.ndarray]],
        quantized_without: Callable[[Collection[str]], Collection[str]],
    ) -> None:
        self.probe = probe
        self.quantized_without = quantized_without
        self.qparams = qparams
        self.samples = samples
        self.names = [op.name for op in probe.operators if op.rounds]
        self.reference, outputs, self._own_db = self._compared(self.names)
        self._total_db = self._worst_sqnr(outputs)

    def _compared(
        self, on: Collection[str], weights_only: Collection[str] = ()
    ) -> tuple[list[np.ndarray], list[np.ndarray], dict[str, float]]:
        """The float network's outputs and those with ``on`` quantized, stacked over the samples,
        and the SQNR of each operator's own result: of a sample at a time, for its size."""
        ratios: dict[str, list[float]] = {}
        references, actuals = [], []
        for inputs in self.samples:
            outputs, observed = self.probe.run(inputs)
            references.append([array.copy() for array in outputs])
            observed = {var: array.copy() for var, array in observed.items()}
            outputs, actual = self.probe.run(inputs, self.qparams, on, weights_only)
            actuals.append([array.copy() for array in outputs])
            for op in self.probe.operators:
                if op.var in observed:
                    ratio = sqnr_db(observed[op.var], actual[op.var])
                    ratios.setdefault(op.name, []).append(ratio)
        own = {name: float(np.median(values)) for name, values in ratios.items()}
        return _stacked(references), _stacked(actuals), own

    def _outputs(self, on: Collection[str], weights_only: Collection[str] = ()) -> list[np.ndarray]:
        """Each output, stacked over the samples."""
        runs = []
        for inputs in self.samples:
            outputs, _ = self.probe.run(inputs, self.qparams, on, weights_only)
            runs.append([array.copy() for array in outputs])
        return _stacked(runs)

    def network_sqnr(self, on: Collection[str], weights_only: Collection[str] = ()) -> float:
        """SQNR of the worst output with the operators ``on`` quantized, in dB.

        Of the anchors ``weights_only`` the weights are.
        """
        return self._worst_sqnr(self._outputs(on, weights_only))

    def _worst_sqnr(self, outputs: list[np.ndarray]) -> float:
        pairs = list(zip(self.reference, outputs, strict=True))
        real = [(r, a) for r, a in pairs if r.dtype.kind == "f"] or pairs
        return min((sqnr_db(r, a) for r, a in real), default=float("inf"))

    def choose(self, min_sqnr_db: float | None, step: Callable[[], None]) -> GuardResult:
        """Find the smallest set to keep in float; ``step`` is called after each measurement.

        What is kept stores its weight as int8 where that alone does next to no harm.
        """
        total = self._total_db
        if min_sqnr_db is None or total >= min_sqnr_db or not self.names:
            return GuardResult((), (), total, total)
        alone = {}
        for name in self.names:
            alone[name] = self.network_sqnr({name})
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
        """SQNR of each operator's own result, in dB; arguments as for :meth:`network_sqnr`."""
        if set(on) == set(self.names) and not weights_only:
            return self._own_db
        return self._compared(on, weights_only)[-1]


def _stacked(runs: list[list[np.ndarray]]) -> list[np.ndarray]:
    """Each output of all runs."""
    return [np.stack(arrays) for arrays in zip(*runs, strict=True)]


#: So much better than what is asked for the ratio with only an int8 weight must be.
_WEIGHT_MARGIN_DB = 10.0
#: How many of the kept operators are tried again in integers, the least harmful first.
_SECOND_LOOKS = 24
