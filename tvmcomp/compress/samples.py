"""Samples in three parts: to fit by, to watch while fitting, and to judge the result by.

A network that is judged on what it was fitted on looks better than it is, and so does one that was
chosen among many by what it is judged on. So ranges, roundings and gradients come from ``fit``,
what is kept and when to stop is decided on ``watch``, and ``judge`` decides nothing.

Equal samples count once. Samples that differ and yet come from one source (crops of a photograph,
frames of a film) can't be told here: whoever has such should give those of one source only, or
judge on data of another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tvmcomp.errors import CalibrationError

Sample: TypeAlias = Mapping[str, NDArray]
#: What a sample ought to give: a class's number, or the first output's values.
Label: TypeAlias = NDArray

#: Shares of the samples, and the most that are of use: at 500 samples an agreement of 98% is known
#: to 0.6 points (standard error), at 2,000 to 0.3, and each look at ``watch`` takes time.
_WATCH_SHARE, _MOST_WATCHED = 0.2, 500
_JUDGE_SHARE, _MOST_JUDGED = 0.2, 2000
#: With fewer samples what is said of the rest is a guess.
_FEW = 30


@dataclass(frozen=True)
class Parts:
    """Samples ``{input name: array}``, each in one part only.

    Attributes:
        fit: ranges, roundings and gradients come from these.
        watch: these say when to stop and what is accepted.
        judge: no choice depends on these; they are for the proof. Empty where it has samples of
            its own.
        fit_labels, watch_labels, judge_labels: one a sample, or None where there are none.
        notes: what is to be known of the division, one sentence each.
    """

    fit: list[Sample]
    watch: list[Sample]
    judge: list[Sample]
    fit_labels: list[Label] | None = None
    watch_labels: list[Label] | None = None
    judge_labels: list[Label] | None = None
    notes: tuple[str, ...] = ()


def divide(
    samples: Iterable[Sample],
    seed: int,
    labels: Sequence[object] | None = None,
    *,
    judged_elsewhere: bool = False,
) -> Parts:
    """Divide samples at random; the same samples in any order, and the same seed, divide alike.

    Args:
        samples: as :func:`tvmcomp.quantize.data.load_samples` gives them.
        seed: of the order that they are dealt out in.
        labels: one a sample.
        judged_elsewhere: there is other data for the proof, so ``judge`` stays empty.

    Raises:
        CalibrationError: too few of them differ, one holds no finite number, or the labels are more
            or fewer.
    """
    given = list(samples)
    known = None if labels is None else [np.asarray(label) for label in labels]
    if known is not None and len(known) != len(given):
        raise CalibrationError(f"there are {len(given)} samples and {len(known)} labels")
    distinct: dict[bytes, int] = {}
    for position, sample in enumerate(given):
        _check_finite(sample, position)
        distinct.setdefault(sample_digest(sample), position)
    least = 2 if judged_elsewhere else 3
    if len(distinct) < least:
        alike = len(given) >= least
        raise CalibrationError(
            f"all {len(given)} samples are alike" if alike else f"{len(given)} samples are too few",
            hint="A network is fitted on some samples and judged on others: give some hundred of "
            "what it will see in use.",
        )
    # By digest first: what order they came in (often class by class) must not matter.
    order = [distinct[digest] for digest in sorted(distinct)]
    order = [order[i] for i in np.random.default_rng(seed).permutation(len(order))]
    judged = 0 if judged_elsewhere else _share(len(order), _JUDGE_SHARE, _MOST_JUDGED)
    watched = _share(len(order), _WATCH_SHARE, _MOST_WATCHED)
    ends = (judged, judged + watched)
    judge, watch, fit = order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] :]

    def labels_of(part: list[int]) -> list[Label] | None:
        return None if known is None else [known[i] for i in part]

    return Parts(
        fit=[given[i] for i in fit],
        watch=[given[i] for i in watch],
        judge=[given[i] for i in judge],
        fit_labels=labels_of(fit),
        watch_labels=labels_of(watch),
        judge_labels=labels_of(judge),
        notes=tuple(_notes(len(given), len(distinct))),
    )


def sample_digest(sample: Sample) -> bytes:
    """SHA-256 over a sample's names, dtypes, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(sample):
        array = np.ascontiguousarray(sample[name])
        digest.update(f"{name}\0{array.dtype.name}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.digest()


def _check_finite(sample: Sample, position: int) -> None:
    for name, array in sample.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise CalibrationError(
                "it holds NaN or Inf", where=f"sample {position}, input {name!r}"
            )


def _share(count: int, share: float, most: int) -> int:
    return max(1, min(round(count * share), most))


def _notes(given: int, distinct: int) -> Iterable[str]:
    if distinct < given:
        yield f"{given - distinct} of {given} samples are copies of others and were left out."
    if distinct < _FEW:
        yield f"With {distinct} different samples, what is found on those held out is a guess."
