"""How a student does on samples that it does not learn from."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.losses import Objective
from tvmcomp.compress.operators.table import Tensor
from tvmcomp.compress.samples import Sample

#: The teacher's outputs are kept up to this size; fewer samples are watched where they are larger.
_KEPT_BYTES = 256 << 20
_ROUNDING = 1e-6


class Standing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a student does.

    Attributes:
        loss: of the outputs, 0 where they are the teacher's.
        agreement: with the teacher, from 0 to 1; see :meth:`Objective.agreement`.
        correct: share of the labels that it meets, where there are any.
    """

    loss: float
    agreement: float
    correct: float | None = None

    def __str__(self) -> str:
        labelled = "" if self.correct is None else f", {self.correct:.1%} correct"
        return f"loss {self.loss:.4g}, agreement {self.agreement:.1%}{labelled}"

    def better_than(self, other: Standing, start: Standing, count: int) -> bool:
        """Whether its loss is less than the other's, and no share is worse than at the start.

        Shares of ``count`` samples move by chance: one standard error, or one sample, is no loss.
        """
        shares = [(self.agreement, start.agreement)]
        if self.correct is not None and start.correct is not None:
            shares.append((self.correct, start.correct))
        return self.loss < other.loss and all(
            now >= before - max(1, math.sqrt(count * before * (1 - before))) / count - _ROUNDING
            for now, before in shares
        )


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
                losses.append(
                    float(self._objective.output_loss(learned, taught, labels)) * len(agreement)
                )
                agreements += agreement.tolist()
                if labels is not None:
                    corrects += self._objective.correct(learned, labels).tolist()
        return Standing(
            sum(losses) / self.count,
            float(np.mean(agreements)),
            float(np.mean(corrects)) if corrects else None,
        )


def stacked(samples: Sequence[Sample]) -> dict[str, Tensor]:
    """Samples as a tensor for each input, with an axis of samples before its own."""
    return {name: torch.from_numpy(np.stack([s[name] for s in samples])) for name in samples[0]}


def labels_of(labels: Sequence[NDArray]) -> Tensor:
    """Labels as a tensor, one a row."""
    return torch.from_numpy(np.stack(labels))
