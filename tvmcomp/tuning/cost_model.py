"""What points of our design spaces gain: learned from every trial of the same kind of workload.

One gradient-boosted model for each design space, over the choices and the shapes of the kernel. It
predicts ``log(untuned time / time)``, which carries over between shapes and between devices, and
so it starts from what the logs hold of other networks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tvmcomp.fingerprint import Fingerprint
from tvmcomp.targets.description import TargetDescription
from tvmcomp.tuning.judge import gain
from tvmcomp.tuning.log.nearest import nearness
from tvmcomp.tuning.log.record import Argument, Trial
from tvmcomp.tuning.log.tuning_log import TuningLog

#: With fewer trials a space is searched at random.
_LEAST_ROWS = 12
#: Dimensions of a tensor that the model sees, the last ones.
_DIMENSIONS = 4
#: How much a trial of another model of device counts.
_OTHER_MODEL = 0.3
#: Logs can hold millions of records: so many, or so many seconds, are read.
_MOST_READ = 20_000
_MOST_SECONDS = 10.0


@dataclass
class _Rows:
    """What is known of one design space, and the model made of the first ``fitted`` of it."""

    names: list[str]
    features: list[list[float]] = field(default_factory=list)
    gains: list[float] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    model: object | None = None
    fitted: int = 0


class CostModel:
    """Predicts gains; starts with nothing known."""

    def __init__(self) -> None:
        self._spaces: dict[str, _Rows] = {}

    def learn(self, trial: Trial, weight: float = 1.0) -> None:
        """Take in a trial that was measured beside its baseline; others are passed over."""
        if not (trial.space and trial.choices and trial.run_secs and trial.baseline_secs):
            return
        rows = self._spaces.setdefault(trial.space, _Rows(sorted(trial.choices)))
        if rows.names != sorted(trial.choices):
            return  # of another version of the schedule
        rows.features.append(_features(rows.names, trial.workload.arguments, trial.choices))
        rows.gains.append(math.log(gain(trial.run_secs, trial.baseline_secs)))
        rows.weights.append(weight)

    def predict(
        self, space: str, arguments: tuple[Argument, ...], points: Sequence[Mapping[str, int]]
    ) -> np.ndarray | None:
        """The logarithm of the gain of each point; None where too little is known."""
        rows = self._spaces.get(space)
        if rows is None or len(rows.gains) < _LEAST_ROWS or not points:
            return None
        if sorted(points[0]) != rows.names:
            return None
        import xgboost  # not above: it takes half a second

        if rows.fitted != len(rows.gains):
            data = xgboost.DMatrix(
                np.array(rows.features), np.array(rows.gains), weight=np.array(rows.weights)
            )
            settings = {"max_depth": 5, "eta": 0.15, "min_child_weight": 1, "nthread": 1}
            rows.model = xgboost.train(settings, data, num_boost_round=60)
            rows.fitted = len(rows.gains)
        asked = np.array([_features(rows.names, arguments, choices) for choices in points])
        assert isinstance(rows.model, xgboost.Booster)
        return np.asarray(rows.model.predict(xgboost.DMatrix(asked)))


def _features(
    names: Iterable[str], arguments: tuple[Argument, ...], choices: Mapping[str, int]
) -> list[float]:
    """The choices, and the shapes of the first two tensors (data, weights) and of the result."""
    shapes = [argument.shape for argument in (*arguments[:2], arguments[-1])]
    sizes = [
        math.log2(max(1, dim))
        for shape in shapes
        for dim in ((1,) * _DIMENSIONS + shape)[-_DIMENSIONS:]
    ]
    return [*(float(choices[name]) for name in names), *sizes]


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
            line = entry.line
            if near is not None and isinstance(line, Trial):
                other = _OTHER_MODEL if near.other_model else 1.0
                model.learn(line, other / (1.0 + near.distance))
    return model
