"""One file of a folder of records: locked appends, incremental reading, torn lines set aside."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tvmcomp.errors import LogError
from tvmcomp.tuning.log.line import (
    Entry,
    digest_of,
    entries_of,
    is_joined,
    workload_at_beginning,
)
from tvmcomp.tuning.log.store import bucket_of

#: What is read at once. More would take fresh pages for each file: slower than reading it.
_CHUNK_BYTES = 1 << 16


class LogFile:
    """A file of lines that many processes append to, and what this process has read of it.

    A writer holds an exclusive lock while it writes whole lines, a reader a shared one while it
    reads. The kernel lets go of a dead process's lock.

    A line that begins as this version writes it is parsed when its workload is asked for, so a
    look-up costs what the lines of its workload cost, and little for the others in the file.

    Args:
        path: the file; it need not exist.
        report: is told of each line that is skipped.
    """

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        self.path = path
        self._report = report
        self._forget()

    def _forget(self) -> None:
        self._unparsed: dict[str, list[tuple[int, bytes]]] = {}
        self._entries: dict[str, Entry] = {}
        self._by_workload: dict[str, list[Entry]] = {}
        self._workloads: dict[str, set[str]] = {}  # of each bucket
        self._end = 0  # what lies before it has been taken in
        self._state: tuple[int, ...] = ()

    def find(self, workload: str) -> list[Entry]:
        """The entries of a workload, what other processes have appended included."""
        self.refresh()
        self._parse(workload)
        return self._by_workload.get(workload, [])

    def entries(self) -> list[Entry]:
        """All entries."""
        self.refresh()
        for workload in list(self._unparsed):
            self._parse(workload)
        return list(self._entries.values())

    def buckets(self) -> list[str]:
        """The buckets of what is in it."""
        self.refresh()
        return list(self._workloads)

    def of_bucket(self, bucket: str) -> list[Entry]:
        """The entries of a bucket."""
        self.refresh()
        workloads = list(self._workloads.get(bucket, ()))
        for workload in workloads:
            self._parse(workload)
        return [entry for each in workloads for entry in self._by_workload.get(each, ())]

    def held(self, entries: Collection[Entry]) -> set[str]:
        """The digests of those ``entries`` that are in it."""
        self.refresh()
        for workload in {entry.workload for entry in entries}:
            self._parse(workload)
        return {entry.digest for entry in entries if entry.digest in self._entries}

    def refresh(self) -> None:
        """Take in what is new."""
        try:
            status = self.path.stat()
            if _state_of(status) == self._state:
                return
            with self._locked(fcntl.LOCK_SH, os.O_RDONLY) as descriptor:
                self._take_in_new(descriptor)
        except FileNotFoundError:
            self._forget()
        except OSError as error:
            raise LogError(f"can't be read: {error.strerror}", where=str(self.path)) from error

    def append(self, entries: Sequence[Entry]) -> int:
        """Write the entries that the file lacks, whole or not at all; return how many."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
            with self._locked(fcntl.LOCK_EX, flags) as descriptor:
                self._take_in_new(descriptor)
                present = self._digests({entry.workload for entry in entries})
                new = {each.digest: each for each in entries if each.digest not in present}
                if new:
                    self._set_torn_end_aside(descriptor)
                    self._write(descriptor, [each.text for each in new.values()])
                    for entry in new.values():
                        self._take_in(entry)
                    status = os.fstat(descriptor)
                    self._end, self._state = status.st_size, _state_of(status)
                return len(new)
        except OSError as error:
            raise LogError(
                f"can't write: {error.strerror or error}",
                where=str(self.path),
                hint="Give a log that you can write to with --log.",
            ) from error

    def discard(self, entries: Collection[Entry]) -> int:
        """Write the file anew without these entries; what can't be read stays in it."""
        digests = self.held(entries)
        if not digests:
            return 0
        try:
            # To write, though it only reads: a network's file system asks for it with such a lock.
            with self._locked(fcntl.LOCK_EX, os.O_RDWR) as descriptor:
                kept: list[bytes] = []
                removed = 0
                for text, _ in _lines(descriptor, 0):
                    pieces = list(entries_of(text))
                    stay = [
                        each.text
                        for each in pieces
                        if not (isinstance(each, Entry) and each.digest in digests)
                    ]
                    removed += len(pieces) - len(stay)
                    kept += [text] if len(stay) == len(pieces) else stay
                if removed:
                    self._replace(b"\n".join(kept))
        except OSError as error:
            raise LogError(f"can't write: {error.strerror}", where=str(self.path)) from error
        self._forget()
        return removed

    @contextmanager
    def _locked(self, kind: int, flags: int) -> Iterator[int]:
        """The file's descriptor, while it is locked."""
        while True:
            # Opening a pipe would wait for its other end, reading a device might never end.
            descriptor = os.open(self.path, flags | os.O_NONBLOCK, 0o666)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise OSError(errno.EINVAL, "it is not a regular file")
                fcntl.flock(descriptor, kind)
                # Whoever pruned it while this process waited put another file in its place.
                if self.path.stat().st_ino == os.fstat(descriptor).st_ino:
                    yield descriptor
                    return
            finally:
                os.close(descriptor)  # releases the lock

    def _take_in_new(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if self._state and (self._state[0] != status.st_ino or status.st_size < self._end):
            self._forget()
        for text, whole in _lines(descriptor, self._end):
            workload = workload_at_beginning(text) if whole and not is_joined(text) else None
            if workload is None:
                self._parse_line(self._end, text, "line skipped" if whole else "torn last line")
            else:
                self._unparsed.setdefault(workload, []).append((self._end, text))
                self._workloads.setdefault(bucket_of(workload), set()).add(workload)
            if whole:
                self._end += len(text) + 1
        self._state = _state_of(status)

    def _digests(self, workloads: Collection[str]) -> Collection[str]:
        """The digests of what is here of these workloads, without parsing it."""
        unparsed = [text for each in workloads for _, text in self._unparsed.get(each, ())]
        return {*self._entries, *(digest_of(text.strip()) for text in unparsed)}

    def _parse(self, workload: str) -> None:
        for start, text in self._unparsed.pop(workload, ()):
            self._parse_line(start, text, "line skipped")

    def _parse_line(self, start: int, text: bytes, what: str) -> None:
        for entry in entries_of(text):
            if isinstance(entry, Entry):
                self._take_in(entry)
            else:
                self._report(f"{self.path} at byte {start}: {what}: {entry}")

    def _take_in(self, entry: Entry) -> None:
        if entry.digest not in self._entries:
            self._entries[entry.digest] = entry
            self._by_workload.setdefault(entry.workload, []).append(entry)
            self._workloads.setdefault(bucket_of(entry.workload), set()).add(entry.workload)

    def _set_torn_end_aside(self, descriptor: int) -> None:
        """See that the file ends with a newline; what a killed writer left goes to ``….torn``."""
        size = os.fstat(descriptor).st_size
        torn = os.pread(descriptor, size - self._end, self._end)
        if not torn:
            return
        pieces = list(entries_of(torn))
        whole = [each.text for each in pieces if isinstance(each, Entry)]
        if len(whole) == len(pieces):
            self._write(descriptor, [b""])  # it lacked its newline only
            return
        with self.path.with_suffix(".torn").open("ab") as aside:
            aside.write(torn + b"\n")
            aside.flush()
            os.fsync(aside.fileno())
        os.ftruncate(descriptor, self._end)
        if whole:
            self._write(descriptor, whole)
        self._report(
            f"{self.path} at byte {self._end}: torn last line set aside in {aside.name} "
            f"({len(torn)} bytes)"
        )

    def _write(self, descriptor: int, texts: list[bytes]) -> None:
        size = os.fstat(descriptor).st_size
        data = b"".join(text + b"\n" for text in texts)
        try:
            if os.write(descriptor, data) != len(data):
                raise OSError("no space left")
            os.fsync(descriptor)
            if not size:
                _sync_folder(self.path.parent)
                _sync_folder(self.path.parent.parent)
        except OSError:
            os.ftruncate(descriptor, size)
            raise

    def _replace(self, content: bytes) -> None:
        folder = self.path.parent
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).chmod(self.path.stat().st_mode & 0o777)
                Path(file.name).replace(self.path)
            except OSError:
                Path(file.name).unlink(missing_ok=True)
                raise
        _sync_folder(folder)


def _state_of(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def _sync_folder(folder: Path) -> None:
    """Make the name of a new file as lasting as its content."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lines(descriptor: int, start: int) -> Iterator[tuple[bytes, bool]]:
    """The lines from ``start`` on, and at the end, marked False, what follows the last newline."""
    rest = b""
    while chunk := os.pread(descriptor, max(_CHUNK_BYTES, len(rest)), start):
        start += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line, True
    yield rest, False
