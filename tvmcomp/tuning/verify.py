"""Rebuild and measure records again, and say which of them no longer hold."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from statistics import median
from typing import Literal, Protocol

import msgspec

from tvmcomp.targets.description import TargetDescription
from tvmcomp.tuning.jobs import Failed
from tvmcomp.tuning.judge import speedup
from tvmcomp.tuning.log.record import Trial
from tvmcomp.tuning.log.tuning_log import Found, TuningLog
from tvmcomp.tuning.measure import Bench

#: ``holds`` and ``faster`` are good; ``not_timed`` was measured on another model of device, and
#: ``unknown`` has no workload in the log: neither can be told. The rest no longer holds.
Status = Literal[
    "holds", "faster", "not_timed", "unknown", "slower", "rebuild_failed", "wrong", "failed"
]
GOOD = ("holds", "faster", "not_timed", "unknown")


class Verified(msgspec.Struct, frozen=True):
    """What came of one record.

    Attributes:
        record: its digest.
        workload, name: what it is a schedule of.
        status: see :data:`Status`.
        seconds: median that the log holds.
        seconds_now: median of the measurement now, or None.
        reason: what is wrong, or None.
    """

    record: str
    workload: str
    name: str
    status: Status
    seconds: float
    seconds_now: float | None = None
    reason: str | None = None

    @property
    def good(self) -> bool:
        """Whether nothing speaks against the record."""
        return self.status in GOOD


def verify(
    log: TuningLog, target: TargetDescription, bench: Bench, records: int, tolerance: float
) -> Iterator[Verified]:
    """Check the records that builds for ``target`` would use.

    Each is scheduled again in a worker process, must make the kernel that its hash names, must
    compute what the unscheduled kernel computes, and must be as fast as it was: compared with the
    baseline, in turns, where the record was, as a machine is slower one day than another.

    Args:
        log: what to check.
        target: selects the records: those of its instruction set.
        bench: builds and measures.
        records: of each workload, best first.
        tolerance: how many times slower or faster a measurement may be and still hold.

    Raises:
        DeviceError: the device is gone.
        LogError: the log can't be read.
        ToolError: worker processes can't be started, or the linker is missing.
    """
    for workload in log.workloads():
        ranked = log.ranked(workload, target, bench.fingerprint)
        for found in islice((found for found in ranked if found.record.usable), records):
            yield _verify_one(log, bench, found, tolerance)


def _verify_one(log: TuningLog, bench: Bench, found: Found, tolerance: float) -> Verified:
    record = found.record

    def result(status: Status, reason: str | None = None, now: float | None = None) -> Verified:
        workload = record.workload
        return Verified(found.id, workload.hash, workload.name, status, found.seconds, now, reason)

    definition = log.definition(record.workload.hash)
    if definition is None:
        return result("unknown", "the log does not hold the workload itself")
    replayed = bench.replay(definition.module, record)
    if isinstance(replayed, Failed):
        return result("rebuild_failed", replayed.message)
    arguments = record.workload.arguments
    wrong = bench.difference((replayed.scheduled, replayed.unscheduled), arguments)
    if isinstance(wrong, Failed):
        return result("failed", f"{wrong.kind}: {wrong.message}")
    if wrong:
        return result("wrong", wrong)
    modules = (replayed.baseline, replayed.scheduled)
    return _time(bench, record, found.seconds, modules, tolerance, result)


class _Result(Protocol):
    def __call__(
        self, status: Status, reason: str | None = None, now: float | None = None
    ) -> Verified: ...


def _time(
    bench: Bench,
    record: Trial,
    seconds: float,
    modules: tuple[str, str],
    tolerance: float,
    result: _Result,
) -> Verified:
    if not bench.runs:
        return result("not_timed", "the target's code does not run on this machine")
    measured = bench.time(modules, record.workload.arguments, seconds)
    if isinstance(measured, Failed):
        return result("failed", f"{measured.kind}: {measured.message}")
    baseline_secs, run_secs = measured.run_secs
    now = median(run_secs)
    if not bench.fingerprint.same_model(record.device):
        return result("not_timed", f"measured on {record.device.cpu or 'an unknown device'}", now)
    slowdown, reason = now / seconds, f"{now / seconds:.2f} times as long as it took"
    if record.baseline_secs:
        was, is_now = (
            speedup(record.run_secs, record.baseline_secs),
            speedup(run_secs, baseline_secs),
        )
        slowdown = was / is_now
        reason = f"{is_now:.2f} times as fast as the baseline, and was {was:.2f} times"
    if slowdown > tolerance:
        return result("slower", reason, now)
    return result("faster" if slowdown * tolerance < 1.0 else "holds", None, now)
