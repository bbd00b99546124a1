"""A score that the caller computes: a function of a network's outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tvmcomp.compress.score import Outputs, Score
from tvmcomp.errors import ConfigError
from tvmcomp.model import TensorSpec

#: ``(outputs, labels) -> points``, more being better: outputs by name, each (N, *shape), and labels
#: (N,) or None where there are none.
CalledMetric: TypeAlias = Callable[[Mapping[str, NDArray], NDArray | None], float]

#: Draws of the samples that the intervals come from: a metric may take long.
_DRAWS = 200


class CalledScorer:
    """As :class:`tvmcomp.compress.score.Scorer`, for a function that is called with all outputs."""

    def __init__(self, metric: CalledMetric, outputs: Sequence[TensorSpec]) -> None:
        """Args:
        metric: the function.
        outputs: the networks' outputs.
        """
        self._metric = metric
        self._names = [spec.name for spec in outputs]
        self._found: list[tuple[Outputs, Outputs]] = []
        self._labels: list[NDArray] = []

    def add(self, before: Outputs, after: Outputs, labels: NDArray | None = None) -> None:
        """Take in what the original and the other give for some samples, and their labels."""
        self._found.append((before, after))
        if labels is not None:
            self._labels.append(labels)

    def score(self) -> Score:
        """Of all that was added.

        Raises:
            ConfigError: the function gives no finite number for the original or for the other.
        """
        before, after = (
            {name: np.concatenate([np.asarray(part[side][name]) for part in self._found])
             for name in self._names}
            for side in (0, 1)
        )  # fmt: skip
        labels = np.concatenate(self._labels) if self._labels else None
        count = len(after[self._names[0]])
        was, value = (self._points(outputs, labels) for outputs in (before, after))
        rng = np.random.default_rng(0)
        drawn = []
        for _ in range(_DRAWS):
            chosen = rng.integers(0, count, count)
            own = None if labels is None else labels[chosen]
            drawn.append([
                self._points({name: array[chosen] for name, array in outputs.items()}, own)
                for outputs in (before, after)
            ])  # fmt: skip
        points = np.array(drawn)
        low, high = np.quantile(points[:, 1], [0.025, 0.975])
        drop_low, drop_high = np.quantile(points[:, 0] - points[:, 1], [0.025, 0.975])
        return Score(
            metric=getattr(self._metric, "__name__", type(self._metric).__name__),
            output=self._names[0],
            unit="",
            samples=count,
            before=was,
            after=value,
            after_low=float(low),
            after_high=float(high),
            drop=was - value,
            drop_low=float(drop_low),
            drop_high=float(drop_high),
        )

    def _points(self, outputs: Mapping[str, NDArray], labels: NDArray | None) -> float:
        found = self._metric(outputs, labels)
        try:
            points = float(found)
        except (TypeError, ValueError):
            raise ConfigError(f"the metric gives {type(found).__name__} and no number") from None
        if not np.isfinite(points):
            raise ConfigError(f"the metric gives {points}, which is no score")
        return points
