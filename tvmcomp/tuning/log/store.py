"""What a place that holds tuning records can do; a folder and a database both do it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence

from tvmcomp.tuning.log.line import Entry

_BUCKET_DIGITS = 3


def bucket_of(workload: str) -> str:
    """The bucket of a workload: the end of its hash.

    4,096 buckets: a look-up among a million records reads some 250 lines, and a merge holds so many
    in memory at once.
    """
    return workload[-_BUCKET_DIGITS:]


class Store(ABC):
    """A set of records. No two have the same text, whoever writes at once.

    What can't be read as a record is skipped, reported, and left where it is.

    Attributes:
        where: the folder, file or address, without its password.

    Every method raises LogError where the store can't be read or written.
    """

    where: str

    def __init__(self) -> None:
        self._problems: dict[str, None] = {}

    @property
    def problems(self) -> list[str]:
        """What was wrong with the lines that were skipped so far, one sentence each."""
        return list(self._problems)

    def report(self, problem: str) -> None:
        """Take in a problem; one that is known already is not repeated."""
        self._problems[problem] = None

    @abstractmethod
    def add(self, entries: Sequence[Entry]) -> int:
        """Write the entries that are not there yet; return how many those were.

        On return they are on the disk. Where it fails, the store is readable and holds all that it
        held before.
        """

    @abstractmethod
    def find(self, workload: str) -> list[Entry]:
        """All entries of the workload with this hash."""

    @abstractmethod
    def buckets(self) -> Iterable[str]:
        """The buckets that hold something, in order: one after the other they are the store."""

    @abstractmethod
    def read(self, bucket: str) -> list[Entry]:
        """All entries of a bucket, in the order of their digests."""

    @abstractmethod
    def discard(self, entries: Collection[Entry]) -> int:
        """Take out entries of one bucket; return how many were there."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections."""
