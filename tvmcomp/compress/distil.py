"""Label-free distillation: a network learns from the one that it was made of.

Geoffrey Hinton et al., "Distilling the Knowledge in a Neural Network" (2015). The original network
says what each sample gives, so samples need no labels. What a compressed network holds is trained
as it is: of one with FakeQuantize this is quantization-aware training, scales and zero points too.

A run can be killed at any moment and goes on from its checkpoint to the same weights, to the bit:
order, augmentation and rates depend on the seed and the step alone.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx
import torch

from tvmcomp.compress.augment import Augmentation, Batch, in_order_of_size
from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.checkpoint import Unusable, load_checkpoint, save_checkpoint
from tvmcomp.compress.losses import Objective, candidates
from tvmcomp.compress.operators.table import Tensor
from tvmcomp.compress.samples import Parts, sample_digest
from tvmcomp.compress.schedule import Schedule
from tvmcomp.compress.watch import Standing, Watch, labels_of, stacked
from tvmcomp.compress.weights import Training, weights_to_train
from tvmcomp.errors import ArtifactError, CalibrationError, ModelError
from tvmcomp.progress import NoProgress, Progress, Step

#: Samples that variances, kinds of outputs and augmentations are found on.
_OBSERVED = 64
#: A batch's tensors take at most about this, those for the gradients included.
_BATCH_BYTES = 1 << 30
#: Of a run's time, about, for looking at the samples held out, and for writing checkpoints.
_WATCHING, _WRITING = 0.1, 0.05
#: Steps between two looks, at the least.
_LEAST_EVERY = 5
#: A rate that was halved so often learns nothing any more.
_MOST_HALVINGS = 10
#: A loss that is 0 but for rounding.
_NOTHING = 1e-9
#: Without gain for this part of the steps, or with a loss so many times the best one, the rate is
#: halved and the best weights are taken up again.
_PATIENCE, _ASTRAY = 0.2, 2.0
#: A rate is given so many steps to show what it does.
_TRIED_STEPS = 40


class DistilOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to distil.

    Attributes:
        budget: seconds that it may take; None for no limit.
        steps: the most that it takes; None for no limit but the budget.
        seed: of the order of samples and of their augmentation.
        batch: samples of a step; fewer where they would take too much memory.
        rate: share of its own size that a weight moves at a step, at the highest.
        scale_rate: the same of a quantizer's scale.
        average: of the moving average of the weights, which is what is kept: the share of it that
            stays at a step.
        temperature: that scores are divided by before they are compared.
        block_weight: of what blocks give, beside the outputs.
        label_weight: of labels beside the teacher's outputs, from 0 to 1.
        augment: whether samples are changed, in ways that the teacher does not mind.
    """

    budget: float | None = 600.0
    steps: int | None = None
    seed: int = 0
    batch: int = 32
    rate: float = 0.01
    scale_rate: float = 0.001
    average: float = 0.98
    temperature: float = 2.0
    block_weight: float = 1.0
    label_weight: float = 0.5
    augment: bool = True


@dataclass(frozen=True)
class Distilled:
    """What came of it.

    Attributes:
        model: the network with the weights that did best on ``parts.watch``.
        start, best: how the network did there before, and does now; None where nothing was tried.
        steps: that were taken.
        seconds: that they took.
        interrupted: whether Ctrl-C ended it.
        notes: one sentence each.
    """

    model: onnx.ModelProto
    start: Standing | None = None
    best: Standing | None = None
    steps: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    notes: tuple[str, ...] = ()


def distil(
    model: onnx.ModelProto,
    teacher: onnx.ModelProto,
    parts: Parts,
    options: DistilOptions,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Distilled:
    """Train all weights of ``model`` to give what ``teacher`` gives.

    Args:
        model: as :func:`tvmcomp.frontend.onnx.prepare.prepare` leaves it, FakeQuantize allowed.
        teacher: the original network, prepared too.
        parts: samples; those to fit by are learned from, those to watch decide what is kept.
        options: how.
        progress: is told of steps, of the loss and of the agreement on samples held out.
        checkpoint: a file that is written now and then, and gone on from where it is there.

    Raises:
        ModelError: the networks don't fit each other, or can't be computed in torch.
        CalibrationError: the teacher gives NaN or Inf, or the labels are not of its outputs.
        ArtifactError: the checkpoint can't be written.
    """
    run = _Run(model, teacher, parts, options, progress or NoProgress())
    if not weights_to_train(run.student.network):
        return Distilled(model, notes=("The network has no weights to train.",))
    run.prepare()
    if checkpoint is not None:
        run.attach(checkpoint)
    return run.finish()


class _State(msgspec.Struct, forbid_unknown_fields=True):
    """The numbers of a run that its checkpoint holds beside the tensors."""

    schedule: Schedule
    start: Standing
    best: Standing
    #: The step at which the best weights were found, or taken up again.
    best_at: int = 0


class _Run:
    def __init__(
        self,
        model: onnx.ModelProto,
        teacher: onnx.ModelProto,
        parts: Parts,
        options: DistilOptions,
        progress: Progress,
    ) -> None:
        self.model, self.parts, self.options, self.progress = model, parts, options, progress
        self.clock = time.monotonic()
        self.digest = _digest(model, teacher, parts, options)
        self.student = BatchedNetwork(model, parts.fit)
        self.teacher = BatchedNetwork(teacher, parts.fit)
        if set(self.student.network.inputs) != set(self.teacher.network.inputs):
            raise ModelError(
                "it has other inputs than the original network, so can't learn from it"
            )
        self.teacher.network.requires_grad_(False)
        self.batch = min(options.batch, _fitting_batch(model), len(parts.fit))
        self.notes: list[str] = []
        self.interrupted = False
        self.checkpoint: Path | None = None

    def prepare(self) -> None:
        """What is compared, what samples may be changed to, and how the network does so far."""
        options, parts = self.options, self.parts
        self.training = Training(
            self.student.network, options.rate, options.scale_rate, options.average
        )
        self.progress.stage("looking at samples")
        seen = stacked(parts.fit[: min(_OBSERVED, 2 * self.batch)])
        with torch.no_grad():
            learned = self.student.run(seen, candidates(self.model))
            taught = self.teacher.run(seen, candidates(self.teacher.model))
            self.objective = Objective(
                self.model,
                self.teacher.model,
                (learned, taught),
                temperature=options.temperature,
                block_weight=options.block_weight,
                label_weight=options.label_weight,
            )
            for labels in (parts.fit_labels, parts.watch_labels):
                self.objective.check_labels(labels or (), learned)
            self.augmentation = Augmentation(self.model, seen) if options.augment else None
            if self.augmentation is not None:
                self.augmentation.keep_if(self._teacher_agrees(taught), seen, options.seed)
                # A label says nothing of a mixture.
                self.augmentation.mixes &= parts.fit_labels is None
        self.watch = Watch(
            self.teacher, self.objective, parts.watch, parts.watch_labels, self.batch
        )
        begun = time.monotonic()
        start = self.watch.standing(self.student)
        # A look is forward only and without the teacher, which is about a quarter of a step.
        self.every = max(_LEAST_EVERY, round(self.watch.count / self.batch / 4 / _WATCHING))
        self.overhead = (time.monotonic() - begun) / self.every
        self.state = _State(Schedule(options.budget, options.steps), start, start)

    def _teacher_agrees(self, taught: Mapping[str, Tensor]) -> Callable[[Batch], float]:
        """How far the teacher agrees on changed samples with what it gave for them before."""
        own = Objective(self.teacher.model, self.teacher.model, (taught, taught))
        wanted = tuple(pair.teacher for _, pair in own.ends)
        before = {name: in_order_of_size(taught[name]) for name in wanted}

        def agrees(changed: Batch) -> float:
            now = self.teacher.run(changed, wanted)
            ordered = {name: in_order_of_size(value) for name, value in now.items()}
            return float(own.agreement(ordered, before).mean())

        return agrees

    def attach(self, path: Path) -> None:
        """Go on from the checkpoint at ``path`` if there is one of this run, and keep it up."""
        self.checkpoint = path
        if path.exists():
            try:
                tensors, state = load_checkpoint(path, self.digest, self.training.tensors())
                self.state = msgspec.json.decode(state, type=_State)
                self.training.restore(tensors)
                self.notes.append(f"It went on from step {self.state.schedule.step}.")
            except (Unusable, msgspec.MsgspecError) as error:
                self.notes.append(f"The checkpoint {path} was not used: {error}.")
        self._write(path)  # a place that can't be written to is an error now, not after minutes

    def finish(self) -> Distilled:
        """Take the steps that are left."""
        start = self.state.start
        pointless = start.loss <= _NOTHING and start.agreement == 1 and start.correct is None
        if pointless:
            self.notes.append(
                "It gives what the original network gives, so there was nothing to learn."
            )
        try:
            if not pointless:
                self._train()
                self._keep()
        except KeyboardInterrupt:
            self.interrupted = True
            self.notes.append("It was stopped by Ctrl-C; the best weights so far are kept.")
        schedule, best = self.state.schedule, self.state.best
        if best == start and not pointless:
            self.notes.append("No weights did better on the samples held out than those it had.")
        if schedule.late:
            self.notes.append("The machine got slower; a repetition may give other weights.")
        self.training.put(self.training.best)
        model = self.model if best == start else self.student.trained()
        return Distilled(
            model, start, best, schedule.step, schedule.seconds, self.interrupted, tuple(self.notes)
        )

    def _train(self) -> None:
        schedule = self.state.schedule
        shown = schedule.planned
        advance = self._show()
        written, write_seconds = time.monotonic(), 0.0
        while not schedule.over:
            begun = time.monotonic()
            self._step()
            now = time.monotonic()
            schedule.count_step(now - begun, begun - self.clock, self.overhead)
            self.clock = now
            if schedule.planned != shown:
                shown = schedule.planned
                advance = self._show()
            else:
                advance()
            if schedule.step % self.every == 0 or schedule.over:
                self._look()
            if schedule.halvings > _MOST_HALVINGS:
                self.notes.append("It stopped early: at no rate was anything gained any more.")
                return
            if now - written > write_seconds / _WRITING:
                self._keep()
                written = time.monotonic()
                write_seconds = written - now

    def _step(self) -> None:
        options, schedule = self.options, self.state.schedule
        chosen = _order(len(self.parts.fit), self.batch, schedule.step, options.seed)
        inputs: Batch = stacked([self.parts.fit[i] for i in chosen])
        labels = self.parts.fit_labels
        wanted = None if labels is None else labels_of([labels[i] for i in chosen])
        if self.augmentation is not None:
            inputs = self.augmentation(inputs, (options.seed, schedule.step))
        with torch.no_grad():
            taught = self.teacher.run(inputs, self.objective.teacher_wants)
        learned = self.student.run(inputs, self.objective.student_wants)
        loss = self.objective.loss(learned, taught, wanted)
        if torch.isfinite(loss) and self.training.step(loss, schedule.rate()):
            return
        if not all(torch.isfinite(value).all() for value in taught.values()):
            raise CalibrationError(
                "the original network gives NaN or Inf on a sample",
                hint="Leave out the samples that it can't compute.",
            )
        self._back_to_best()

    def _back_to_best(self) -> None:
        """Go on from the best weights, more slowly."""
        self.training.back_to_best()
        self.state.schedule.halvings += 1
        self.state.best_at = self.state.schedule.step

    def _look(self) -> None:
        """Keep the weights if they do better on the samples held out than any before."""
        now = self.training.copy()
        self.training.put(self.training.averaged)
        standing = self.watch.standing(self.student)
        self.training.put(now)
        state, schedule = self.state, self.state.schedule
        without_gain = schedule.step - state.best_at
        if standing.better_than(state.best, state.start, self.watch.count):
            for name, value in self.training.averaged.items():
                self.training.best[name].copy_(value)
            state.best, state.best_at = standing, schedule.step
        elif without_gain > _TRIED_STEPS and (
            standing.loss > _ASTRAY * state.best.loss
            or without_gain > _PATIENCE * (schedule.planned or math.inf)
        ):
            self._back_to_best()
        self._say()

    def _show(self) -> Step:
        """Begin a stage of the steps that are left."""
        planned, done = self.state.schedule.planned, self.state.schedule.step
        if planned is None:
            step = self.progress.stage("timing the first steps")
        else:
            step = self.progress.stage("distilling", planned - done)
        self._say()
        return step

    def _say(self) -> None:
        self.progress.status(f"{self.state.best} on samples held out")

    def _keep(self) -> None:
        """Write the checkpoint; from now on none, if there is no room for it any more."""
        try:
            if self.checkpoint is not None:
                self._write(self.checkpoint)
        except ArtifactError as error:
            self.notes.append(f"{error.where}: {error.what}; what is there is an older one.")
            self.checkpoint = None

    def _write(self, path: Path) -> None:
        state = msgspec.json.encode(self.state).decode()
        save_checkpoint(path, self.digest, self.training.tensors(), state)


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


def _digest(
    model: onnx.ModelProto, teacher: onnx.ModelProto, parts: Parts, options: DistilOptions
) -> str:
    """Of all that decides a run."""
    digest = hashlib.sha256(msgspec.json.encode(options))
    for graph in (model, teacher):
        digest.update(graph.SerializeToString(deterministic=True))
    for part in (parts.fit, parts.watch):
        digest.update(f"{len(part)} samples".encode())
        for sample in part:
            digest.update(sample_digest(sample))
    for labels in (parts.fit_labels, parts.watch_labels):
        for label in labels or ():
            digest.update(f"{label.dtype.name}{label.shape}".encode() + label.tobytes())
    digest.update(torch.__version__.encode())
    return digest.hexdigest()
