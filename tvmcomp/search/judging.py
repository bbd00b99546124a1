"""What candidates are chosen by, and what the chosen are judged by: different samples.

Labelled samples given apart (``--eval``) are dealt out: a third to choose by, the rest to judge by.
Without them the part that compression watches chooses, and the part that it leaves alone judges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.data import Data
from tvmcomp.compress.fake_quantize.measure import Yardstick
from tvmcomp.compress.fake_quantize.onnx_outputs import parts_of_outputs
from tvmcomp.compress.original import Original
from tvmcomp.compress.running import Runner, compared, gives_scores, in_turn
from tvmcomp.compress.samples import Sample
from tvmcomp.compress.score import Score, Scorer, check_metric, default_metric
from tvmcomp.intervals import paired_difference
from tvmcomp.runtime.metrics import LABELLED, RANKED, Metric

_CHOOSING = 1 / 3
#: What JSON has for the endless ratio of outputs that are the same to the last bit.
_MOST_DECIBELS = 300.0
#: The score, and less the points lost, of what gives no numbers.
_LEAST = -1e6

#: A network that was built: what it gives for a sample.
Run = Callable[[Sample], Mapping[str, NDArray]]


class Judging:
    """Scores networks beside the original.

    Attributes:
        metric: what is measured.
        choose, judge: samples.
    """

    def __init__(
        self, original: Original, data: Data, metric: Metric | None, apart: bool, seed: int
    ) -> None:
        """Args:
        original: the network.
        data: all that was given.
        metric: None takes what suits.
        apart: samples to judge by were given apart, and are dealt out.
        seed: of that.

        Raises:
            InputError: the metric can't be measured on these.
        """
        labels = data.labels
        if apart:
            order = np.random.default_rng(seed).permutation(len(data.judge))
            count = max(1, round(_CHOOSING * len(order)))
            chosen, rest = order[:count], order[count:] if len(order) > 1 else order
            self.choose: Sequence[Sample] = [data.judge[i] for i in chosen]
            self.judge: Sequence[Sample] = [data.judge[i] for i in rest]
            self._choose_labels = None if labels is None else labels[chosen]
            self._judge_labels = None if labels is None else labels[rest]
        else:
            self.choose, self.judge = data.parts.watch, data.judge
            watched = data.parts.watch_labels
            classes = watched is not None and watched[0].dtype.kind in "iu"
            self._choose_labels = np.stack(watched) if classes and watched is not None else None
            self._judge_labels = labels
        self._runner = Runner(original.prepared)
        self._outputs = original.signature.outputs
        if metric is None:
            labelled = self._judge_labels is not None
            scores = not labelled and gives_scores(self._runner, data.parts.watch)
            metric = default_metric(original.signature, labelled, scores)
        check_metric(metric, original.signature, self._judge_labels)
        self.metric: Metric = metric
        self._parts = parts_of_outputs(original.prepared)
        self._yardstick = Yardstick(original.prepared, data.parts.watch)

    def noise(self, model: onnx.ModelProto) -> float:
        """At a network's outputs, over their variance, on watched samples."""
        return self._yardstick.noise(BatchedNetwork(model, self._yardstick.samples))

    def chosen_by(self, model: onnx.ModelProto) -> Score:
        """A network's score on samples to choose by."""
        return self._compared(model, self.choose, self._choose_labels)

    def judged(self, model: onnx.ModelProto) -> Score:
        """A network's score on samples that no choice uses."""
        return self._compared(model, self.judge, self._judge_labels)

    def built_chosen_by(self, run: Run) -> Score:
        """The score of what was built, on samples to choose by."""
        return self._as_built(run, self.choose, self._choose_labels)

    def built_judged(self, run: Run) -> Score:
        """The score of what was built, on samples that no choice uses."""
        return self._as_built(run, self.judge, self._judge_labels)

    def too_few(self, max_drop: float) -> str | None:
        """Why ``max_drop`` can't be told from more on the samples that judge; None where it can:
        the interval of a network that loses exactly this much is no wider."""
        if self.metric not in RANKED:
            return None
        count = len(self.judge)
        lost = round(max_drop / 100 * count)
        right = np.ones(count, bool)
        low, high = paired_difference(right, np.arange(count) >= lost)
        half = 50 * (high - low)
        if half <= max_drop or half == 0:
            return None
        needed = int(np.ceil(count * (half / max(max_drop, 1e-3)) ** 2))
        more = f"about {needed:,} samples could" if max_drop else "no number of samples could"
        return (
            f"{count:,} samples that judge can't tell whether {max_drop:g} points are lost: with "
            f"95% confidence they tell {half:.2f} points more or less; {more}"
        )

    def _compared(
        self, model: onnx.ModelProto, samples: Sequence[Sample], labels: NDArray | None
    ) -> Score:
        metric = self._usable(labels)
        (score,) = compared(self._runner, Runner(model), samples, [metric], self._outputs, labels)
        return finite(score)

    def _as_built(self, run: Run, samples: Sequence[Sample], labels: NDArray | None) -> Score:
        parts = {s.name: each for s, each in zip(self._outputs, self._parts, strict=True)}
        scorer = Scorer(self._usable(labels), self._outputs, parts)
        for part in in_turn(samples):
            rows = [run(sample) for sample in samples[part]]
            given = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
            at = None if labels is None else labels[part]
            scorer.add(self._runner(samples[part]), given, at)
        return finite(scorer.score())

    def _usable(self, labels: NDArray | None) -> Metric:
        """The metric, or agreement where it needs labels that these samples lack."""
        return "agreement" if labels is None and self.metric in LABELLED else self.metric


def finite(score: Score) -> Score:
    """The score as JSON can hold it: all is lost where a network gives NaN."""
    found = {
        **{name: getattr(score, name) for name in ("after", "after_low", "after_high")},
        **{name: -getattr(score, name) for name in ("drop", "drop_low", "drop_high")},
    }
    ends = {
        name: (_MOST_DECIBELS if value > 0 else _LEAST) * (-1 if name.startswith("drop") else 1)
        for name, value in found.items()
        if not math.isfinite(value)
    }
    return msgspec.structs.replace(score, **ends)
