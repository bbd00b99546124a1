"""What a store holds, in numbers."""

from __future__ import annotations

from collections import Counter

import msgspec

from tvmcomp.tuning.log.store import Store


class Statistics(msgspec.Struct, frozen=True):
    """Numbers of a store.

    Attributes:
        log: where it is.
        records: trials, failed ones included.
        failed: those of them that gave no time.
        finished: searches that ended.
        workloads: kernels that there is something of.
        defined: those of them that are there themselves, to be verified and exported.
        targets, devices: records of each target's name, and of each CPU.
        oldest, newest: dates of records, or None.
        problems: what was skipped, a sentence each.
    """

    log: str
    records: int
    failed: int
    finished: int
    workloads: int
    defined: int
    targets: dict[str, int]
    devices: dict[str, int]
    oldest: str | None
    newest: str | None
    problems: list[str]


def statistics(store: Store) -> Statistics:
    """Count what is in ``store``.

    Raises:
        LogError: it can't be read.
    """
    kinds: Counter[str] = Counter()
    targets: Counter[str] = Counter()
    devices: Counter[str] = Counter()
    dates: list[str] = []
    failed = 0
    workloads: set[str] = set()
    defined: set[str] = set()
    for bucket in store.buckets():
        for entry in store.read(bucket):
            summary = entry.summary
            if summary.type == "comparison":  # of whole networks
                continue
            workloads.add(entry.workload)
            if summary.type == "workload":
                defined.add(entry.workload)
            if summary.type == "trial":
                try:
                    target, device = entry.target.name, entry.device.cpu
                except ValueError as error:
                    store.report(f"{store.where}: record {entry.digest[:12]} skipped: {error}")
                    continue
                targets[target] += 1
                devices[device] += 1
                failed += not summary.run_secs
                if summary.date:
                    dates = [min([*dates, summary.date]), max([*dates, summary.date])]
            kinds[summary.type] += 1
    return Statistics(
        store.where,
        kinds["trial"],
        failed,
        kinds["finished"],
        len(workloads),
        len(defined),
        dict(targets.most_common()),
        dict(devices.most_common()),
        dates[0] if dates else None,
        dates[-1] if dates else None,
        store.problems,
    )
