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
from dataclasses import dataclass
from pathlib import Path

import msgspec
import onnx
import torch

from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.checkpoint import Unusable, load_checkpoint, save_checkpoint
from tvmcomp.compress.distil_options import DistilOptions
from tvmcomp.compress.lessons import Lessons
from tvmcomp.compress.samples import Parts, sample_digest
from tvmcomp.compress.schedule import Schedule
from tvmcomp.compress.watch import Standing
from tvmcomp.compress.weights import Training, weights_to_train
from tvmcomp.errors import ArtifactError
from tvmcomp.progress import NoProgress, Progress, Step

__all__ = ["DistilOptions", "Distilled", "distil"]

#: Of a run's time, about, for writing checkpoints.
_WRITING = 0.05
#: A rate that was halved so often learns nothing any more.
_MOST_HALVINGS = 10
#: A loss that is 0 but for rounding.
_NOTHING = 1e-9
#: Without gain for this part of the steps, or with a loss so many times the best one, the rate is
#: halved and the best weights are taken up again.
_PATIENCE, _ASTRAY = 0.2, 2.0
#: A rate is given so many steps to show what it does.
_TRIED_STEPS = 40


@dataclass(frozen=True)
class Distilled:
    """What came of it.

    Attributes:
        model: the network with the weights that did best on ``parts.watch``; with those that it
            had, where these were not surely worse.
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
    begun = time.monotonic()
    shown = progress or NoProgress()
    digest = _digest(model, teacher, parts, options)
    student = BatchedNetwork(model, parts.fit)
    if not weights_to_train(student.network):
        return Distilled(model, notes=("The network has no weights to train.",))
    shown.stage("looking at samples")
    lessons = Lessons(student, BatchedNetwork(teacher, parts.fit), parts, options)
    run = _Run(model, lessons, options, shown, digest, begun)
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
        lessons: Lessons,
        options: DistilOptions,
        progress: Progress,
        digest: str,
        begun: float,
    ) -> None:
        self.model, self.lessons, self.progress, self.digest = model, lessons, progress, digest
        self.training = Training(lessons.student.network, options.rate, options.scale_rate)
        #: When the time that is counted began, or was counted last.
        self.clock = begun
        self.notes: list[str] = []
        self.interrupted = False
        self.checkpoint: Path | None = None
        looked = time.monotonic()
        start = lessons.watch.standing(lessons.student)
        self.overhead = (time.monotonic() - looked) / lessons.look_every
        self.state = _State(Schedule(options.budget, options.steps), start, start)

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
        looks = schedule.step // self.lessons.look_every
        if not (schedule.step or pointless or self.interrupted):
            self.notes.append("No time was left to train; give a larger budget.")
        elif best == start and not pointless:
            self.notes.append("No weights did better on the samples held out than those it had.")
        elif best != start and not best.surely_better_than(start, looks):
            self.notes.append(
                f"What it learned was not surely better than the weights it had, on "
                f"{self.lessons.watch.count} samples held out ({best} in place of {start}), and "
                "was given up; more samples would tell."
            )
            best = start
        if schedule.late:
            self.notes.append("The machine got slower; a repetition may give other weights.")
        self.training.put(self.training.best)
        model = self.model if best == start else self.lessons.student.trained()
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
            if schedule.step % self.lessons.look_every == 0 or schedule.over:
                self._look()
            if schedule.halvings > _MOST_HALVINGS:
                self.notes.append("It stopped early: at no rate was anything gained any more.")
                return
            if now - written > write_seconds / _WRITING:
                self._keep()
                written = time.monotonic()
                write_seconds = written - now

    def _step(self) -> None:
        loss = self.lessons.loss(self.state.schedule.step)
        rate = self.state.schedule.rate()
        if not (torch.isfinite(loss) and self.training.step(loss, rate)):
            self._back_to_best()

    def _back_to_best(self) -> None:
        """Go on from the best weights, more slowly."""
        self.training.back_to_best()
        self.state.schedule.halvings += 1
        self.state.best_at = self.state.schedule.step

    def _look(self) -> None:
        """Keep the weights if they do better on the samples held out than any before."""
        standing = self.lessons.watch.standing(self.lessons.student)
        state, schedule = self.state, self.state.schedule
        without_gain = schedule.step - state.best_at
        if standing.better_than(state.best, state.start):
            self.training.best = self.training.copy()  # at once: Ctrl-C may come at any moment
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
