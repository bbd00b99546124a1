"""How a student does on samples that it does not learn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.losses import Objective, Values
from tvmcomp.compress.operators.table import Tensor
from tvmcomp.compress.samples import Sample

#: The teacher's outputs are kept up to this size; fewer samples are watched where they are larger.
_KEPT_BYTES = 256 << 20
_ROUNDING = 1e-6
#: Fewer samples tell nothing.
_FEWEST_TOLD = 4
_CONFIDENCE = 0.95


class Standing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a student does.

    Attributes:
        loss: of the outputs, 0 where they are the teacher's.
        agreement: with the teacher, from 0 to 1; see :meth:`Objective.agreement`.
        correct: share of the labels that it meets, where there are any.
        losses: of each sample.
    """

    loss: float
    agreement: float
    correct: float | None = None
    losses: tuple[float, ...] = ()

    def __str__(self) -> str:
        labelled = "" if self.correct is None else f", {self.correct:.1%} correct"
        return f"loss {self.loss:.4g}, agreement {self.agreement:.1%}{labelled}"

    def better_than(self, other: Standing, start: Standing) -> bool:
        """Whether its loss is less than the other's, and no share is less than at the start."""
        shares = [(self.agreement, start.agreement)]
        if self.correct is not None and start.correct is not None:
            shares.append((self.correct, start.correct))
        return self.loss < other.loss and all(now >= then - _ROUNDING for now, then in shares)

    def surely_better_than(self, start: Standing, looks: int) -> bool:
        """Whether its losses would be less than those at the start on other samples too.

        What was the best of many looks at few samples is so by chance in part. So the mean fall of
        the roots of the losses (which a few bad samples don't decide) must lie above its one-sided
        bound of 95% confidence for the best of so many (Bonferroni's).

        Args:
            start: on the same samples.
            looks: that it was the best of.
        """
        falls = np.sqrt(np.maximum(start.losses, 0)) - np.sqrt(np.maximum(self.losses, 0))
        if len(falls) < _FEWEST_TOLD:
            return False
        normal = NormalDist().inv_cdf(1 - (1 - _CONFIDENCE) / max(looks, 1))
        # Of Student's distribution, about (Cornish and Fisher, 1960).
        bound = normal * (1 + (normal**2 + 1) / (4 * (len(falls) - 1)))
        error = float(falls.std(ddof=1)) / math.sqrt(len(falls))
        return float(falls.mean()) > bound * error


class Watch:
    """Samples held out, and what the teacher gives for them."""

    def __init__(
        self,
        teacher: BatchedNetwork,
        objective: Objective,
        samples: Sequence[Sample],
        labels: Sequence[NDArray] | None,
        batch: int,
    ) -> None:
        """Args:
        teacher: of it.
        objective: of the student.
        samples, labels: held out.
        batch: samples that go through at once.
        """
        self._objective = objective
        self._batches: list[tuple[dict[str, Tensor], dict[str, Tensor], Tensor | None]] = []
        wanted = tuple(pair.teacher for _, pair in objective.ends)
        kept = 0
        for first in range(0, len(samples), batch):
            inputs = stacked(samples[first : first + batch])
            own = None if labels is None else labels_of(labels[first : first + batch])
            with torch.no_grad():
                taught = {n: t.clone() for n, t in teacher.run(inputs, wanted).items()}
            self._batches.append((inputs, taught, own))
            kept += sum(tensor.nbytes for tensor in taught.values())
            if kept > _KEPT_BYTES:
                break

    @property
    def count(self) -> int:
        """How many samples are watched."""
        return sum(len(next(iter(inputs.values()))) for inputs, _, _ in self._batches)

    def standing(self, student: BatchedNetwork) -> Standing:
        """How ``student`` does."""
        wanted = tuple(pair.student for _, pair in self._objective.ends)
        losses, agreements, corrects = [], [], []
        with torch.no_grad():
            for inputs, taught, labels in self._batches:
                learned = student.run(inputs, wanted)
                agreement = self._objective.agreement(learned, taught)
                losses += self._losses(learned, taught, labels)
                agreements += agreement.tolist()
                if labels is not None:
                    corrects += self._objective.correct(learned, labels).tolist()
        return Standing(
            float(np.mean(losses)),
            float(np.mean(agreements)),
            float(np.mean(corrects)) if corrects else None,
            tuple(losses),
        )

    def _losses(self, learned: Values, taught: Values, labels: Tensor | None) -> list[float]:
        """The loss of each sample of a batch."""
        found = []
        for i in range(len(next(iter(taught.values())))):
            one, other = ({n: t[i : i + 1] for n, t in each.items()} for each in (learned, taught))
            label = None if labels is None else labels[i : i + 1]
            found.append(float(self._objective.output_loss(one, other, label)))
        return found


def stacked(samples: Sequence[Sample]) -> dict[str, Tensor]:
    """Samples as a tensor for each input, with an axis of samples before its own."""
    return {name: torch.from_numpy(np.stack([s[name] for s in samples])) for name in samples[0]}


def labels_of(labels: Sequence[NDArray]) -> Tensor:
    """Labels as a tensor, one a row."""
    return torch.from_numpy(np.stack(labels))
