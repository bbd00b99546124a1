"""A score that the caller computes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from tvmcomp.compress.called_metric import CalledMetric, CalledScorer
from tvmcomp.compress.score import Score, Scorer
from tvmcomp.errors import ConfigError
from tvmcomp.model import TensorSpec

CLASSES = TensorSpec("y", (1, 4), "float32")


def top1(outputs: Mapping[str, NDArray], labels: NDArray | None) -> float:
    assert labels is not None
    return 100 * float(np.mean(outputs["y"][:, 0].argmax(-1) == labels))


def scored(scorer: Scorer | CalledScorer) -> Score:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 60)
    before, after = (
        np.eye(4, dtype="float32")[np.where(rng.random(60) < share, labels, 0)][:, None]
        for share in (0.95, 0.7)
    )
    for start in range(0, 60, 7):
        part = slice(start, start + 7)
        scorer.add({"y": before[part]}, {"y": after[part]}, labels[part])
    return scorer.score()


def test_a_function_scores_as_the_metric_that_it_computes() -> None:
    called, known = scored(CalledScorer(top1, [CLASSES])), scored(Scorer("top1", [CLASSES]))
    assert called.metric == "top1" and called.samples == known.samples
    for name in ("before", "after", "drop"):
        assert getattr(called, name) == pytest.approx(getattr(known, name))
    for name in ("after_low", "after_high", "drop_low", "drop_high"):
        assert getattr(called, name) == pytest.approx(getattr(known, name), abs=3)


@pytest.mark.parametrize("metric", [lambda *_: None, lambda *_: float("nan"), lambda *_: "much"])
def test_what_is_no_score_is_refused(metric: CalledMetric) -> None:
    with pytest.raises(ConfigError, match="the metric gives"):
        scored(CalledScorer(metric, [CLASSES]))
