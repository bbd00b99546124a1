"""Take out of a store what no build will use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import median
from typing import Any

import msgspec

from tvmcomp.tuning.log.line import Entry, age, speedups
from tvmcomp.tuning.log.store import Store


def prune(store: Store, keep: int, dry_run: bool = False) -> int:
    """Keep the fastest trials, confirmed ones first; take out the slower and the failed ones.

    Baselines, finished searches and workloads stay. What is malformed stays, too: it is
    reported, and for a person to look at.

    Args:
        store: what to prune.
        keep: candidates that stay of each workload, target and model of device.
        dry_run: only count.

    Returns:
        How many were taken out.
    """
    removed = 0
    for bucket in list(store.buckets()):
        gone = list(_superfluous(store.read(bucket), keep))
        removed += len(gone) if dry_run else store.discard(gone)
    return removed


def _superfluous(entries: Iterable[Entry], keep: int) -> Iterator[Entry]:
    # What was measured more than once stays or goes with all its times.
    groups: dict[tuple[Any, ...], dict[tuple[bytes, str], list[Entry]]] = {}
    for entry in entries:
        summary = entry.summary
        if summary.type != "trial" or summary.is_baseline:
            continue
        try:
            # As a look-up groups them: the target's name and the system's kernel don't count.
            target = msgspec.structs.replace(entry.target, name="")
            key = (entry.workload, target, entry.device.model)
        except ValueError:
            continue
        if summary.run_secs:
            candidate = (bytes(summary.trace), summary.kernel)
            groups.setdefault(key, {}).setdefault(candidate, []).append(entry)
        else:
            yield entry
    # That a kernel lost on a model of device keeps builds there from using what won on another.
    winners: dict[tuple[str, str], set[tuple[Any, ...]]] = {}
    for key, candidates in groups.items():
        for (_, kernel), same in candidates.items():
            if max(same, key=age).summary.confirmed:
                winners.setdefault((key[0], kernel), set()).add(key)
    for key, candidates in groups.items():
        for same in sorted(candidates.values(), key=_rank)[keep:]:
            if not winners.get((key[0], same[0].summary.kernel), {key}) - {key}:
                yield from same


def _rank(same: list[Entry]) -> tuple[bool, float, float, str]:
    newest = max(same, key=age)
    seconds = median([time for entry in same for time in entry.summary.run_secs])
    speedup = median(speedups(same) or [1.0])
    return (not newest.summary.confirmed, -speedup, seconds, newest.digest)
