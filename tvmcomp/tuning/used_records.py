"""Tuning records in a build: each kernel takes the fastest that fits, and the build says which."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import msgspec

from tvmcomp.errors import ToolError
from tvmcomp.model import Operator, UsedRecord
from tvmcomp.passes.lowering.kernel_sources import kernels_of_operators
from tvmcomp.targets import TargetDescription, runs_here
from tvmcomp.targets.device_fingerprint import device_fingerprint
from tvmcomp.tuning.jobs import Failed
from tvmcomp.tuning.log.record import Versions
from tvmcomp.tuning.log.tuning_log import Found, TuningLog
from tvmcomp.tuning.measure import Bench
from tvmcomp.tuning.rebuild import apply_record
from tvmcomp.tuning.space import Scheduled
from tvmcomp.tuning.target_space import whole_kernels
from tvmcomp.tuning.task import arguments_of, module_of, workload_hash
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimFunc

logger = logging.getLogger(__name__)


class UsedRecords:
    """Gives PrimFuncs scheduled by the records of a log, and remembers what it used.

    A record of other versions is used only if it makes the same kernel again, and that computes
    what the unscheduled one does. A context manager: leaving it ends the processes of that check.

    Args:
        log: where to look.
        target: what is compiled for.
        linker: the linker's command line, None for the target's own.

    Where nothing is known to be faster than the baseline, the kernel keeps it.

    Attributes:
        used: kernel -> the record that decided its schedule.
    """

    def __init__(
        self, log: TuningLog, target: TargetDescription, linker: str | None = None
    ) -> None:
        self.log = log
        self.target = target
        self.device = device_fingerprint(target) if runs_here(target) is None else None
        self.used: dict[str, Found] = {}
        self._linker = linker
        self._whole = whole_kernels(target)
        self._versions = Versions.here()
        self._bench: Bench | None = None
        self._resources = ExitStack()

    def __enter__(self) -> UsedRecords:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._resources.close()
        self._bench = None

    def __call__(self, name: str, func: PrimFunc) -> Any | None:
        """The scheduled function for the kernel ``name``, or None: it keeps the baseline."""
        baseline = None
        lost: set[str] = set()
        for found in self.log.ranked(workload_hash(func), self.target, self.device):
            record = found.record
            same_versions = record.versions == self._versions
            if record.is_baseline and same_versions:
                baseline = baseline or found
            if not record.confirmed and self.device and self.device.same_model(record.device):
                lost.add(record.kernel)
            # What comes after the baseline is slower, unless it won in turns with it. To
            # have won on another model of device helps nothing where it was not kept on this one.
            if not record.usable or (baseline and not record.confirmed):
                continue
            if record.confirmed and record.kernel in lost:
                continue
            schedule = apply_record(record, func, self._whole)
            if schedule is None:
                continue
            if not same_versions and not self._passes(found, schedule, func):
                continue
            self.used[name] = found
            return schedule.mod["main"]
        if baseline:  # made anew: not every baseline has a trace
            self.used[name] = baseline
        return None

    def _passes(self, found: Found, schedule: Scheduled, func: PrimFunc) -> bool:
        """Whether a kernel of other versions does what the unscheduled one does."""
        try:
            if self._bench is None:
                self._bench = self._resources.enter_context(Bench(self.target, linker=self._linker))
            modules = (_json(schedule.mod), _json(module_of(func)))
            reason = self._bench.difference(modules, arguments_of(func))
            if isinstance(reason, Failed):
                reason = f"{reason.kind}: {reason.message}"
        except ToolError as error:
            reason = error.what
            self._resources.close()
            self._bench = None
        if reason:
            logger.warning("record %s of other versions not used: %s", found.id[:12], reason)
        return not reason

    def named_in(
        self, operators: Sequence[Operator], sources: Mapping[str, frozenset[str]]
    ) -> list[Operator]:
        """``operators``, each with the record that its kernel was scheduled by.

        Args:
            operators: the build report's list.
            sources: what each kernel computes.
        """
        kernels = kernels_of_operators([operator.name for operator in operators], sources)
        return [
            msgspec.structs.replace(operator, record=self._record(kernels.get(operator.name, [])))
            for operator in operators
        ]

    def _record(self, kernels: list[str]) -> UsedRecord | None:
        """The record of the kernel that takes longest, where there are more."""
        used = [self.used[kernel] for kernel in kernels if kernel in self.used]
        if not used:
            return None
        found = max(used, key=lambda found: found.seconds)
        baseline = "; the baseline: nothing is known to be faster"
        reason = found.reason + (baseline if found.record.is_baseline else "")
        return UsedRecord(found.id, found.seconds, found.record.date, reason)

    def notes(self) -> list[str]:
        """What a person should know of the records that were used, and of those that can't be."""
        problems = self.log.problems
        notes = [f"log: {problem}" for problem in problems[:5]]
        if len(problems) > len(notes):
            notes.append(f"log: {len(problems) - len(notes)} more lines were skipped")
        if self.used:
            baselines = sum(found.record.is_baseline for found in self.used.values())
            reasons = sorted({found.reason for found in self.used.values()})
            more = " …" if len(reasons) > 3 else ""
            notes.append(
                f"{len(self.used) - baselines} kernels are scheduled by tuning records, "
                f"{baselines} keep the baseline by them ({'; '.join(reasons[:3])}{more})"
            )
        return notes


def _json(module: Any) -> str:
    return str(tvm.ir.save_json(module))
