"""Pruning while distilling: at first a few weights go, and the others learn to do without.

After each update of the masks the least magnitudes are zero and stay so; sparsity rises as
:class:`~tvmcomp.compress.sparsify.polynomial.PolynomialDecay` says. What comes of it is at the
final sparsity, whatever became of the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch

from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.distil_options import DistilOptions
from tvmcomp.compress.lessons import Lessons
from tvmcomp.compress.operators.table import Tensor
from tvmcomp.compress.samples import Parts
from tvmcomp.compress.schedule import Schedule
from tvmcomp.compress.sparsify.held import hold_zeros
from tvmcomp.compress.sparsify.masks import keep_in_all, keep_in_each
from tvmcomp.compress.sparsify.polynomial import PolynomialDecay
from tvmcomp.compress.sparsify.prunable import Prunable
from tvmcomp.compress.weights import Training
from tvmcomp.progress import Progress

#: Where nothing else is said, sparsity rises over this share of the steps, in so many updates.
_RISING, _UPDATES = 0.75, 100


@dataclass(frozen=True)
class Rise:
    """How sparsity rises; what is None follows from the number of steps.

    Attributes:
        start, final: the sparsity before and after.
        power: of the polynomial.
        begin, end, frequency: in steps.
        everywhere: one threshold for all weights, and not one for each.
    """

    start: float
    final: float
    power: float = 3.0
    begin: int | None = None
    end: int | None = None
    frequency: int | None = None
    everywhere: bool = False

    def over(self, done: int, steps: int) -> PolynomialDecay:
        """The rise in a training of ``steps``, of which ``done`` are done."""
        begin = done if self.begin is None else self.begin
        end = max(begin, round(_RISING * steps)) if self.end is None else self.end
        every = max(1, (end - begin) // _UPDATES) if self.frequency is None else self.frequency
        return PolynomialDecay(self.start, self.final, begin, end, every, self.power)


class Masks:
    """The masks of weights that are trained."""

    def __init__(self, training: Training, chosen: Sequence[Prunable], *, everywhere: bool) -> None:
        """Args:
        training: of the network.
        chosen: the weights.
        everywhere: as of :class:`Rise`.
        """
        self._optimizer, self._everywhere = training.optimizer, everywhere
        self._chosen = {each.weight.tensor: each for each in chosen}
        self._values = {name: training.weights[name] for name in self._chosen}
        self._masks: dict[str, Tensor] = {}

    def update(self, sparsity: float) -> None:
        """Choose them by the magnitudes of the weights as they are, and :meth:`apply` them."""
        scores = {
            name: np.abs(each.weight.matrices(self._values[name].detach().numpy()))
            for name, each in self._chosen.items()
        }
        blocks = {name: each.block for name, each in self._chosen.items()}
        if self._everywhere:
            kept = keep_in_all(scores, sparsity, blocks)
        else:
            kept = {n: keep_in_each(s, sparsity, blocks[n]) for n, s in scores.items()}
        for name, mask in kept.items():
            whole = self._chosen[name].weight.from_matrices(mask)
            self._masks[name] = torch.from_numpy(np.ascontiguousarray(whole, np.float32))
        self.apply()

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def apply(self) -> None:
        """Make zero what is not kept; nothing moves it on."""
        for name, mask in self._masks.items():
            self._values[name].mul_(mask)
            for key in ("exp_avg", "exp_avg_sq"):
                self._optimizer.state[self._values[name]][key].mul_(mask)

    @property
    def sparsity(self) -> float:
        """The share of zeros in all weights."""
        count = sum(value.numel() for value in self._values.values())
        return 1 - sum(int(torch.count_nonzero(v)) for v in self._values.values()) / count


def prune_gradually(
    model: onnx.ModelProto,
    teacher: onnx.ModelProto,
    chosen: Sequence[Prunable],
    rise: Rise,
    parts: Parts,
    options: DistilOptions,
    progress: Progress,
    seen: Callable[[int, float], None] = lambda step, sparsity: None,
) -> onnx.ModelProto:
    """``model`` at the final sparsity, its other weights trained to give what ``teacher`` gives.

    Args:
        model: a prepared float graph.
        teacher: the original network, prepared.
        chosen: the weights to prune.
        rise: of sparsity.
        parts: samples.
        options: of the training.
        progress: is told of each step.
        seen: is told of each update of the masks: the step, and the share of zeros after it.

    Raises:
        ModelError, CalibrationError: as of :func:`tvmcomp.compress.distil.distil`.
    """
    begun = time.monotonic()
    progress.stage("looking at samples")
    student = BatchedNetwork(model, parts.fit)
    lessons = Lessons(student, BatchedNetwork(teacher, parts.fit), parts, options)
    training = Training(student.network, options.rate, options.scale_rate)
    masks = Masks(training, chosen, everywhere=rise.everywhere)
    schedule = Schedule(options.budget, options.steps)
    decay, clock = None, begun
    advance = progress.stage("timing the first steps")
    while not schedule.over:
        start = time.monotonic()
        if decay is None and schedule.planned is not None:
            decay = rise.over(schedule.step, schedule.planned)
            advance = progress.stage("pruning", schedule.planned - schedule.step)
        if decay is not None and decay.is_update(schedule.step):
            masks.update(decay.sparsity(schedule.step))
            seen(schedule.step, masks.sparsity)
            progress.status(f"{masks.sparsity:.0%} zero")
        training.step(lessons.loss(schedule.step), schedule.rate())
        masks.apply()
        now = time.monotonic()
        schedule.count_step(now - start, start - clock, 0.0)
        clock = now
        advance()
    masks.update(rise.final)
    seen(schedule.step, masks.sparsity)
    pruned = student.trained()
    hold_zeros(pruned, (each.weight.tensor for each in chosen))
    return pruned
