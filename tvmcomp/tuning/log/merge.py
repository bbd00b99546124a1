"""Move records between stores. A merge is a union, so its order makes no difference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvmcomp.tuning.log.line import Entry
from tvmcomp.tuning.log.store import Store


@dataclass(frozen=True)
class Merged:
    """How many entries were read, how many of them were new, how many could not be used."""

    read: int
    added: int
    malformed: int


def merge(source: Store, into: Store, tell: Callable[[int], None] = lambda entries: None) -> Merged:
    """Copy what ``into`` lacks. ``source`` stays as it is.

    Doing it again adds nothing; cut off, the same call goes on. Malformed records are reported as
    problems of ``source``, and stay there.

    Args:
        source: where from.
        into: where to.
        tell: is told how many entries have been read.

    Raises:
        LogError: one of them can't be read or written.
    """
    read = added = malformed = 0
    for bucket in source.buckets():
        entries = source.read(bucket)
        whole = [entry for entry in entries if _is_whole(entry, source)]
        added += into.add(whole)
        read += len(entries)
        malformed += len(entries) - len(whole)
        tell(read)
    return Merged(read, added, malformed)


def _is_whole(entry: Entry, source: Store) -> bool:
    try:
        entry.check()
    except ValueError as error:
        source.report(f"{source.where}: record {entry.digest[:12]} skipped: {error}")
        return False
    return True
