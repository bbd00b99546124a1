"""Do the techniques of a recipe one after the other, and say of each what it cost and gained."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import onnx

from tvmcomp.compress.allowance import Allowance
from tvmcomp.compress.called_metric import CalledMetric
from tvmcomp.compress.cost import Compute, OperatorTimes
from tvmcomp.compress.fake_quantize import finish
from tvmcomp.compress.proof import StepProof
from tvmcomp.compress.run_folder import RunFolder
from tvmcomp.compress.running import Runner, compared, gives_scores
from tvmcomp.compress.samples import Parts
from tvmcomp.compress.score import Score, default_metric
from tvmcomp.compress.technique import Run, Technique, is_given
from tvmcomp.errors import ConfigError
from tvmcomp.model import Signature
from tvmcomp.progress import Progress
from tvmcomp.runtime.metrics import LABELLED, Metric


class Steps:
    """The steps of one run.

    Attributes:
        proofs: what each step cost and gained, so far.
    """

    def __init__(
        self,
        original: onnx.ModelProto,
        parts: Parts,
        signature: Signature,
        seed: int,
        progress: Progress,
        folder: RunFolder,
        times: OperatorTimes,
        max_drop: float,
        metric: Metric | CalledMetric | None = None,
        shared: Path | None = None,
    ) -> None:
        """Args:
        original: the network, prepared.
        parts, seed, progress, times: as :class:`tvmcomp.compress.technique.Run` has them.
        signature: the network's.
        folder: keeps what is done.
        max_drop: points that all steps together may lose.
        metric: what they are of; one that needs labels, or is a function, is not known of watched
            samples, and as with None what suits the network is taken.
        """
        self.proofs: list[StepProof] = []
        self._original, self._parts, self._signature = original, parts, signature
        self._seed, self._progress, self._folder = seed, progress, folder
        self._times, self._max_drop, self._shared = times, max_drop, shared
        self._teacher = Runner(original)
        if metric is None or callable(metric) or metric in LABELLED:
            metric = default_metric(signature, False, gives_scores(self._teacher, parts.watch))
        self._metric: Metric = metric

    def run(self, steps: Sequence[Technique], seconds: float) -> onnx.ModelProto:
        """The network that ``steps`` make of the original.

        Args:
            steps: in order.
            seconds: that those which train may take, together.

        Raises:
            ConfigError: a technique refuses; nothing was done then.
            TvmcompError: a technique failed.
        """
        for index, step in enumerate(steps):
            reason = step.refuses(self._original, self._given(steps, 0.0, None), steps[:index])
            if reason:
                raise ConfigError(f"{step.name}: {reason}")
        model = self._original
        size, (drop, sqnr) = self._judged(model)
        left = seconds
        allowance = Allowance(self._max_drop, steps, self._cost)
        for index, step in enumerate(steps):
            share = _share(steps[index:], left)
            done = self._folder.finished(index)
            if done is None:
                self._progress.stage(step.name)
                start = time.monotonic()
                folder = self._folder.of_step(index)
                given = self._given(steps, share, folder, allowance.of(index))
                applied = step.apply(model, given)
                took = time.monotonic() - start
                self._folder.keep(index, applied, took)
            else:
                applied, took = done
            if _takes_time(step):
                left = max(0.0, left - took)
            model = applied.model
            before = size, drop, sqnr
            size, (drop, sqnr) = self._judged(model)
            allowance.lost(index, drop.drop - before[1].drop)
            self.proofs.append(
                StepProof(
                    technique=step.name,
                    options=msgspec.to_builtins(step.options),
                    seconds=took,
                    bytes_before=before[0],
                    bytes_after=size,
                    metric=self._metric,
                    drop_before=before[1].drop,
                    drop_after=drop.drop,
                    sqnr_db_before=before[2].after,
                    sqnr_db_after=sqnr.after,
                    notes=applied.notes,
                )
            )
        return model

    def _cost(self, steps: Sequence[Technique]) -> float:
        """Points that steps lose of the original by themselves, without training."""
        self._progress.stage("what other steps cost")
        model = self._original
        for step in steps:
            model = step.apply(model, self._given(steps, 0.0, None)).model
        return self._judged(model)[1][0].drop

    def _given(
        self,
        steps: Sequence[Technique],
        seconds: float,
        folder: Path | None,
        max_drop: float = 0.0,
    ) -> Run:
        compute: Compute = "int8" if any(step.name == "quantize" for step in steps) else "float"
        return Run(
            teacher=self._original,
            parts=self._parts,
            seed=self._seed,
            seconds=seconds,
            progress=self._progress,
            times=self._times,
            compute=compute,
            max_drop=max_drop,
            lost=lambda model: self._judged(model)[1][0].drop,
            folder=folder,
            shared=self._shared,
        )

    def _judged(self, model: onnx.ModelProto) -> tuple[int, list[Score]]:
        """The bytes that a network would take in a file, and its scores on watched samples: by the
        metric, and its ratio of signal to noise."""
        small = finish(model)
        scores = compared(
            self._teacher,
            Runner(small),
            self._parts.watch,
            [self._metric, "sqnr"],
            self._signature.outputs,
        )
        return small.ByteSize(), scores


def _share(steps: Sequence[Technique], left: float) -> float:
    """The seconds of ``left`` that the first of ``steps`` may train for: none where it trains only
    with a step behind it that mends, and there is none."""
    first = steps[0]
    if not _takes_time(first):
        return left
    if not any(step.repeats for step in steps):
        return 0.0
    return left / sum(1 for step in steps if _takes_time(step))


def _takes_time(step: Technique) -> bool:
    """Whether a step has a part of the time for training."""
    return step.repeats or is_given(step.options, step.trains)
