"""Move records between stores. A merge is a union, so its order makes no difference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvmcomp.tuning.log.line import Entry
from tvmcomp.tuning.log.store import Store

#: Entries; a database writes so many to the disk in one go.
_WRITTEN_AT_ONCE = 4000


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
    waiting: list[Entry] = []
    for bucket in source.buckets():
        entries = source.read(bucket)
        read += len(entries)
        whole = [entry for entry in entries if _is_whole(entry, source)]
        malformed += len(entries) - len(whole)
        waiting += whole
        if len(waiting) >= _WRITTEN_AT_ONCE:
            added += into.add(waiting)
            waiting = []
            tell(read)
    added += into.add(waiting)
    tell(read)
    return Merged(read, added, malformed)


def _is_whole(entry: Entry, source: Store) -> bool:
    try:
        entry.check()
    except ValueError as error:
        source.report(f"{source.where}: record {entry.digest[:12]} skipped: {error}")
        return False
    return True
