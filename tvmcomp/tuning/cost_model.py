"""How fast points of our design spaces are: learned from every trial of the same kind of workload.

One gradient-boosted model for each design space, over the choices and the shapes of the kernel. It
predicts ``log(speedup)``, which carries over between shapes and between devices, and
so it starts from what the logs hold of other networks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from tvmcomp.targets.description import TargetDescription
from tvmcomp.targets.fingerprint import Fingerprint
from tvmcomp.tuning.judge import speedup
from tvmcomp.tuning.log.nearest import nearness
from tvmcomp.tuning.log.record import Argument, MeasuredPoint, Trial
from tvmcomp.tuning.log.tuning_log import TuningLog

#: With fewer trials a space is searched at random.
_LEAST_ROWS = 12
#: Dimensions of a tensor that the model sees, the last ones: packed weights have seven.
_DIMENSIONS = 7
_NO_ARGUMENT = Argument("", ())
#: How much a trial of an earlier run counts, and one of another model of device.
_EARLIER = 0.3
_OTHER_MODEL = 0.1
#: Logs can hold millions of records: so many, or so many seconds, are read.
_MOST_READ = 20_000
_MOST_SECONDS = 10.0


@dataclass
class _Rows:
    """What is known of one design space, and the model made of the first ``fitted`` of it."""

    names: list[str]
    features: list[list[float]] = field(default_factory=list)
    log_speedups: list[float] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    model: object | None = None
    fitted: int = 0


class CostModel:
    """Predicts speedups; starts with nothing known."""

    def __init__(self) -> None:
        # A version of a schedule that has other choices is another space.
        self._spaces: dict[tuple[str, ...], _Rows] = {}

    def learn(self, trial: Trial | MeasuredPoint, weight: float = 1.0) -> None:
        """Take in a trial that was measured beside its baseline; others are passed over."""
        if not (trial.space and trial.choices and trial.baseline_secs):
            return
        names = sorted(trial.choices)
        rows = self._spaces.setdefault((trial.space, *names), _Rows(names))
        rows.features.append(_features(names, trial.workload.arguments, trial.choices))
        rows.log_speedups.append(math.log(speedup(trial.run_secs, trial.baseline_secs)))
        rows.weights.append(weight)

    def predict(
        self, space: str, arguments: tuple[Argument, ...], points: Sequence[Mapping[str, int]]
    ) -> np.ndarray | None:
        """The logarithm of the speedup of each point; None where too little is known."""
        rows = self._spaces.get((space, *sorted(points[0]))) if points else None
        if rows is None or len(rows.log_speedups) < _LEAST_ROWS:
            return None
        import xgboost  # not above: it takes half a second

        if rows.fitted != len(rows.log_speedups):
            data = xgboost.DMatrix(
                np.array(rows.features), np.array(rows.log_speedups), weight=np.array(rows.weights)
            )
            settings = {"max_depth": 5, "eta": 0.15, "min_child_weight": _EARLIER, "nthread": 1}
            rows.model = xgboost.train(settings, data, num_boost_round=60)
            rows.fitted = len(rows.log_speedups)
        asked = np.array([_features(rows.names, arguments, choices) for choices in points])
        assert isinstance(rows.model, xgboost.Booster)
        return np.asarray(rows.model.predict(xgboost.DMatrix(asked)))


def _features(
    names: Iterable[str], arguments: tuple[Argument, ...], choices: Mapping[str, int]
) -> list[float]:
    return [*(float(choices[name]) for name in names), *_sizes(arguments)]


@lru_cache(maxsize=4096)
def _sizes(arguments: tuple[Argument, ...]) -> tuple[float, ...]:
    """Logarithms of shapes and sizes: of the first two tensors (data, weights) and the result."""
    shapes = [argument.shape for argument in (*arguments, *[_NO_ARGUMENT] * 2)[:2]]
    shapes += [argument.shape for argument in arguments[-1:] or [_NO_ARGUMENT]]
    return tuple(
        math.log2(max(1, number))
        for shape in shapes
        for number in (*((1,) * _DIMENSIONS + shape)[-_DIMENSIONS:], math.prod(shape))
    )


def learned_from(log: TuningLog, target: TargetDescription, device: Fingerprint) -> CostModel:
    """A model that knows the trials of ``log`` for the instruction set of ``target``.

    Those of other models of device count less, and less again the further they are.
    """
    model = CostModel()
    start = time.monotonic()
    for number, entry in enumerate(log.entries()):
        if number >= _MOST_READ or time.monotonic() - start > _MOST_SECONDS:
            break
        if entry.summary.type != "trial" or not entry.summary.baseline_secs:
            continue
        with log.reporting(entry):
            near = nearness(entry.target, entry.device, target, device)
            if near is not None:
                other = _OTHER_MODEL if near.other_model else _EARLIER
                model.learn(entry.point, other / (1.0 + near.distance))
    return model
