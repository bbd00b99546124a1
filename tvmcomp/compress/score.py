"""How well a network does on samples that no choice depended on, beside the original, and how far
that can be trusted.

Against labels both networks have a score, and what is lost is their difference. Without labels the
original is the measure, and what is lost is what lacks to 100: of the agreement in percent; of the
cosine in percent; of the ratio of signal to noise, how much of the signal is noise, in percent of
its energy: 20 dB are 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from tvmcomp.errors import InputError
from tvmcomp.intervals import Interval, bootstrap, paired_difference, wilson
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.quantize.output_parts import Part
from tvmcomp.runtime.metrics import (
    LABELLED,
    RANKED,
    RANKS,
    UNITS,
    Metric,
    agrees,
    cosines,
    decibels,
    hits,
    is_ranked,
    noise_and_signal,
)

#: Output -> what a network gives for each sample: (N, *shape).
Outputs = Mapping[str, NDArray]


class Score(msgspec.Struct, frozen=True):
    """A network's score beside the original's.

    Attributes:
        metric: what was measured, on ``output``: a known metric, or a function's name.
        unit: of ``before`` and ``after``: ``%``, ``dB`` or none.
        samples: how many.
        before: the original's; None where the original is the measure.
        after: the network's.
        after_low, after_high: where ``after`` lies with 95% confidence.
        drop: what is lost, in points; below 0 is a gain.
        drop_low, drop_high: where ``drop`` lies with 95% confidence.
    """

    metric: str
    output: str
    unit: str
    samples: int
    before: float | None
    after: float
    after_low: float
    after_high: float
    drop: float
    drop_low: float
    drop_high: float


def default_metric(signature: Signature, labelled: bool, scores: bool) -> Metric:
    """What to judge a network by where nobody says: its first output decides.

    Args:
        signature: the network's.
        labelled: there are labels.
        scores: what :func:`~tvmcomp.compress.ends.are_scores` says of the first output.
    """
    shape = signature.outputs[0].shape
    if not is_ranked(shape) or shape[-1] < 2:
        return "sqnr"
    if labelled:
        return "top1"
    return "agreement" if scores else "sqnr"


def check_metric(metric: Metric, signature: Signature, labels: NDArray | None) -> None:
    """See that ``metric`` can be measured.

    Raises:
        InputError: there are no labels, or the first output is no row of class scores.
    """
    first = signature.outputs[0]
    if metric in LABELLED and labels is None:
        raise InputError(
            f"the metric {metric} needs labels",
            hint="Give --eval D.npz with an array `label` of one integer a sample, or choose "
            "agreement, sqnr or cosine, which compare with the original.",
        )
    if metric in RANKED and not is_ranked(first.shape):
        raise InputError(
            f"the metric {metric} needs one row of class scores a sample; the output "
            f"{first.name!r} has shape {list(first.shape)}",
            hint="Choose sqnr or cosine.",
        )
    if metric in LABELLED and labels is not None:
        hits(np.zeros((1, first.shape[-1])), labels, 1)


class Scorer:
    """Compares two networks, some samples at a time: outputs of all of them may be too large."""

    def __init__(
        self,
        metric: Metric,
        outputs: Sequence[TensorSpec],
        parts: Mapping[str, Sequence[Part]] | None = None,
    ) -> None:
        """Args:
        metric: one that :func:`check_metric` lets pass.
        outputs: the networks' outputs. A metric of class scores is of the first; one of likeness
            is of each and of its parts, and what lost most is told.
        parts: the quantities that outputs are joined of, by output.
        """
        self._metric = metric
        floats = [spec.name for spec in outputs if "float" in spec.dtype]
        first = outputs[0].name
        #: What is compared: an output, and where in it.
        self._places: dict[str, tuple[str, Part]] = {}
        for name in [first] if metric in RANKED else floats or [first]:
            self._places[name] = (name, ())
            own = (parts or {}).get(name, ())
            for part in own if metric not in RANKED and len(own) > 1 else ():
                self._places[_title(name, part)] = (name, part)
        self._found: dict[str, list[NDArray]] = {title: [] for title in self._places}
        #: Outputs, and parts that are not 0 throughout: with nothing else no ratio means anything.
        self._told = {name for name, part in self._places.values() if not part}

    def add(self, before: Outputs, after: Outputs, labels: NDArray | None = None) -> None:
        """Take in what the original and the other give for some samples, and their labels."""
        for title, (name, part) in self._places.items():
            found, at = self._found[title], (slice(None), *part)
            given, reference = _rows(after[name][at]), _rows(before[name][at])
            if reference.any():
                self._told.add(title)
            if self._metric in LABELLED:
                assert labels is not None
                rank = RANKS[self._metric]
                pair = [hits(scores, labels, rank) for scores in (reference, given)]
                found.append(np.stack(pair, axis=1))
            elif self._metric == "agreement":
                found.append(agrees(given, reference))
            elif self._metric == "sqnr":
                found.append(noise_and_signal(given, reference))
            else:
                found.append(cosines(given, reference))

    def score(self) -> Score:
        """Of all that was added."""
        scores = [
            self._score(title, np.concatenate(found))
            for title, found in self._found.items()
            if title in self._told
        ]
        return max(scores, key=lambda each: math.inf if math.isnan(each.drop) else each.drop)

    def _score(self, name: str, values: NDArray) -> Score:
        if self._metric in RANKED:
            return _ranked(self._metric, name, values)
        return _likeness(self._metric, name, values)


def _title(name: str, part: Part) -> str:
    """``y[:, 4:22]``."""
    ends = (":" if each == slice(None) else f"{each.start}:{each.stop}" for each in part)
    return f"{name}[{', '.join(ends)}]"


def _ranked(metric: Metric, name: str, values: NDArray) -> Score:
    """Of ``values``: (N, 2) of whether the original and the other are right, or (N,) of whether
    they agree."""
    labelled = metric in LABELLED
    second = values[:, 1] if labelled else values
    first = values[:, 0] if labelled else np.ones_like(second)
    was, share = float(np.mean(first)), float(np.mean(second))
    low, high = wilson(share, len(second))
    drops = paired_difference(first, second) if labelled else (1 - high, 1 - low)
    return Score(
        metric=metric,
        output=name,
        unit=UNITS[metric],
        samples=len(second),
        before=100 * was if labelled else None,
        after=100 * share,
        after_low=100 * low,
        after_high=100 * high,
        drop=100 * (was - share),
        drop_low=100 * drops[0],
        drop_high=100 * drops[1],
    )


def _likeness(metric: Metric, name: str, values: NDArray) -> Score:
    """Of ``values``: (N, 2) energies of noise and signal, or (N,) cosines."""
    figure: Callable[[NDArray], float] = _all_decibels if metric == "sqnr" else _mean
    drop: Callable[[NDArray], float] = _noise_share if metric == "sqnr" else _lacking
    after_ends: Interval = bootstrap(values, figure)
    drop_ends: Interval = bootstrap(values, drop)
    return Score(
        metric=metric,
        output=name,
        unit=UNITS[metric],
        samples=len(values),
        before=None,
        after=figure(values),
        after_low=after_ends[0],
        after_high=after_ends[1],
        drop=drop(values),
        drop_low=drop_ends[0],
        drop_high=drop_ends[1],
    )


def _mean(values: NDArray) -> float:
    return float(np.mean(values))


def _lacking(values: NDArray) -> float:
    return 100 * (1 - float(np.mean(values)))


def _all_decibels(energies: NDArray) -> float:
    noise, signal = energies.sum(axis=0)
    return decibels(float(noise), float(signal))


def _noise_share(energies: NDArray) -> float:
    noise, signal = energies.sum(axis=0)
    if noise == 0:
        return 0.0
    return 100 * float(noise / signal) if signal else float("inf")


def _rows(array: NDArray) -> NDArray:
    return array.reshape(len(array), -1).astype(np.float64)
