"""Write down what happens to a task: every line that the tuner adds to the log is made here."""

from __future__ import annotations

from typing import Any

import msgspec

from tvmcomp.targets.description import TargetDescription
from tvmcomp.targets.fingerprint import Fingerprint
from tvmcomp.tuning.cost_model import CostModel
from tvmcomp.tuning.jobs import Failed
from tvmcomp.tuning.log.record import (
    OWN_RUNTIME,
    Definition,
    Finished,
    Target,
    Trial,
    Versions,
    Workload,
    now,
)
from tvmcomp.tuning.log.tuning_log import TuningLog
from tvmcomp.tuning.space import Candidate
from tvmcomp.tuning.task import write_module
from tvmcomp.tuning.task_search import TaskSearch
from tvmcomp.tuning.trace import kernel_hash


class Recorder:
    """Appends to a log, and teaches the cost model what it appends.

    Args:
        target: what is compiled for.
        device: what is measured on, where a measurement does not say.
        log: gets a line for every trial before the next one is measured.
        model: is told of each trial.
    """

    def __init__(
        self, target: TargetDescription, device: Fingerprint, log: TuningLog, model: CostModel
    ) -> None:
        self._target = target
        self._device = device
        self._log = log
        self._model = model

    def define(self, search: TaskSearch) -> None:
        """Write the workload itself, unless the log that is written holds it.

        That another log holds it helps nobody whom this one is given to.
        """
        written = TuningLog(self._log.stores[:1])
        if written.definition(search.workload.hash) is None:
            text = write_module(search.task.func)
            self._log.append(Definition(**_line(search.workload), module=text))

    def trial(
        self, search: TaskSearch, candidate: Candidate, device: Fingerprint | None, **fields: Any
    ) -> Trial:
        """Write a trial; ``fields`` are those of its outcome."""
        trial = Trial(
            **_line(search.workload),
            target=Target.of(self._target),
            device=device or self._device,
            trace=candidate.trace,
            kernel=kernel_hash(candidate.schedule),
            space=candidate.space,
            choices=dict(candidate.choices),
            runtime=OWN_RUNTIME,
            **fields,
        )
        self._log.append(trial)
        self._model.learn(trial)
        return trial

    def take_back(self, search: TaskSearch) -> None:
        """Write that nothing of a task is confirmed any longer on this model of device."""
        newest = {
            trial.kernel: trial for trial in self._log.trials(search.workload.hash, self._target)
        }
        for trial in newest.values():
            if trial.confirmed and trial.device.same_model(self._device):
                self._log.append(msgspec.structs.replace(trial, confirmed=False, date=now()))

    def finish(self, search: TaskSearch, trials: int, exhausted: bool) -> None:
        """Write that a search ended: it is not run again for ``trials`` trials or fewer."""
        self._log.append(
            Finished(
                **_line(search.workload),
                target=Target.of(self._target),
                device=self._device,
                trials=trials,
                exhausted=exhausted,
            )
        )


def words(failed: Failed) -> str:
    """A failure as a trial's ``error``."""
    return f"{failed.kind}: {failed.message}"[:2000]


def _line(workload: Workload) -> dict[str, Any]:
    return {"workload": workload, "versions": Versions.here(), "date": now()}
