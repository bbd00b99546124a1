"""What a student is taught at each step: samples, changed or not, and what the teacher gives.

Order and changes depend on the seed and the step alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx
import torch

from tvmcomp.compress.augment import Augmentation, Batch, in_order_of_size
from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.distil_options import DistilOptions
from tvmcomp.compress.losses import Objective, candidates
from tvmcomp.compress.operators.table import Tensor
from tvmcomp.compress.samples import Parts
from tvmcomp.compress.watch import Watch, labels_of, stacked
from tvmcomp.errors import CalibrationError, ModelError

#: Samples that variances, kinds of outputs and augmentations are found on.
_OBSERVED = 64
#: A batch's tensors take at most about this, those for the gradients included.
_BATCH_BYTES = 1 << 30
#: Of a run's time, about, for looking at the samples held out.
_WATCHING = 0.1
#: Steps between two looks, at the least.
_LEAST_EVERY = 5


class Lessons:
    """Batches for a student, and the loss on each.

    Attributes:
        student, teacher: the networks.
        watch: the samples held out.
        look_every: steps after which the student is looked at on them.
    """

    def __init__(
        self,
        student: BatchedNetwork,
        teacher: BatchedNetwork,
        parts: Parts,
        options: DistilOptions,
    ) -> None:
        """Args:
        student, teacher: of the same inputs.
        parts: samples.
        options: of the distillation.

        Raises:
            ModelError: the networks don't fit each other.
            CalibrationError: the teacher gives NaN or Inf, or the labels are not of its outputs.
        """
        if set(student.network.inputs) != set(teacher.network.inputs):
            raise ModelError(
                "it has other inputs than the original network, so can't learn from it"
            )
        self.student, self.teacher = student, teacher
        self._parts, self._seed = parts, options.seed
        teacher.network.requires_grad_(False)
        self._batch = min(options.batch, _fitting_batch(student.model), len(parts.fit))
        seen = stacked(parts.fit[: min(_OBSERVED, 2 * self._batch)])
        with torch.no_grad():
            learned = student.run(seen, candidates(student.model))
            taught = teacher.run(seen, candidates(teacher.model))
            self._objective = Objective(
                student.model,
                teacher.model,
                (learned, taught),
                temperature=options.temperature,
                block_weight=options.block_weight,
                label_weight=options.label_weight,
            )
            for labels in (parts.fit_labels, parts.watch_labels):
                self._objective.check_labels(labels or (), learned)
            self._augmentation = Augmentation(student.model, seen) if options.augment else None
            if self._augmentation is not None:
                self._augmentation.keep_if(_agrees(teacher, taught), seen, options.seed)
                # A label says nothing of a mixture.
                self._augmentation.mixes &= parts.fit_labels is None
        self.watch = Watch(teacher, self._objective, parts.watch, parts.watch_labels, self._batch)
        # A look is forward only and without the teacher, which is about a quarter of a step.
        looks = self.watch.count / self._batch / 4
        self.look_every = max(_LEAST_EVERY, round(looks / _WATCHING))

    def loss(self, step: int) -> Tensor:
        """The student's loss at a step.

        Raises:
            CalibrationError: the teacher gives NaN or Inf.
        """
        chosen = _order(len(self._parts.fit), self._batch, step, self._seed)
        inputs: Batch = stacked([self._parts.fit[i] for i in chosen])
        labels = self._parts.fit_labels
        wanted = None if labels is None else labels_of([labels[i] for i in chosen])
        if self._augmentation is not None:
            inputs = self._augmentation(inputs, (self._seed, step))
        with torch.no_grad():
            taught = self.teacher.run(inputs, self._objective.teacher_wants)
        learned = self.student.run(inputs, self._objective.student_wants)
        loss = self._objective.loss(learned, taught, wanted)
        finite = torch.isfinite(loss) or all(torch.isfinite(each).all() for each in taught.values())
        if not finite:
            raise CalibrationError(
                "the original network gives NaN or Inf on a sample",
                hint="Leave out the samples that it can't compute.",
            )
        return loss


def _agrees(teacher: BatchedNetwork, taught: Mapping[str, Tensor]) -> Callable[[Batch], float]:
    """How far the teacher agrees on changed samples with what it gave for them before."""
    own = Objective(teacher.model, teacher.model, (taught, taught))
    wanted = tuple(pair.teacher for _, pair in own.ends)
    before = {name: in_order_of_size(taught[name]) for name in wanted}

    def agrees(changed: Batch) -> float:
        now = teacher.run(changed, wanted)
        ordered = {name: in_order_of_size(value) for name, value in now.items()}
        return float(own.agreement(ordered, before).mean())

    return agrees


def _order(count: int, batch: int, step: int, seed: int) -> list[int]:
    """The samples of a step: all of them in a new order, again and again."""
    places = range(step * batch, (step + 1) * batch)
    rounds = {place // count for place in places}
    orders = {r: np.random.default_rng((seed, r)).permutation(count) for r in rounds}
    return [int(orders[place // count][place % count]) for place in places]


def _fitting_batch(model: onnx.ModelProto) -> int:
    """How many samples' tensors fit into memory, about: twice, for their gradients."""
    numbers = sum(
        math.prod(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in model.graph.value_info
    )
    return max(1, _BATCH_BYTES // (8 * max(1, numbers)))
