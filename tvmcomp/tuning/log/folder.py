"""A folder of records: text files that ``git merge``, ``cat`` and ``grep`` understand."""

from __future__ import annotations

import os
import re
import time
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from tvmcomp.errors import LogError
from tvmcomp.tuning.log.line import Entry
from tvmcomp.tuning.log.log_file import LogFile
from tvmcomp.tuning.log.store import Store, bucket_of

_BUCKET_FILE = re.compile(r"[0-9a-f]{3}\.jsonl")
#: Files that are kept in memory; a merge goes through thousands.
_FILES_IN_MEMORY = 64
_SETTLED_NS = 2 * 10**9
#: For git: lines are only ever added, so a merge keeps those of both sides.
_GIT_ATTRIBUTES = "*.jsonl text eol=lf merge=union\n"


class FolderStore(Store):
    """``<target>/<bucket>.jsonl`` in a folder.

    What decides whether a record fits is what it holds, not the folder that it lies in: every
    target's file of a bucket is looked through. A file of any other name that ends in ``.jsonl``,
    in the folder itself or in a target's, may hold lines of any kind; it is read whole.

    Args:
        folder: made when the first record is written.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.where = str(folder)
        self._files: OrderedDict[Path, LogFile] = OrderedDict()
        self._loose: dict[Path, LogFile] = {}
        self._listings: dict[Path, _Listing] = {}

    def add(self, entries: Sequence[Entry]) -> int:
        """See :class:`Store`."""
        by_file: dict[tuple[str, str], list[Entry]] = {}
        for entry in entries:
            place = (_folder_of(entry), bucket_of(entry.workload))
            by_file.setdefault(place, []).append(entry)
        self._prepare()
        added = 0
        for (folder, bucket), group in by_file.items():
            path = self.folder / folder / f"{bucket}.jsonl"
            present = self._elsewhere(path, group)
            added += self._file(path).append([e for e in group if e.digest not in present])
        return added

    def find(self, workload: str) -> list[Entry]:
        """See :class:`Store`."""
        files = [*self._files_of(bucket_of(workload)), *self._loose_files()]
        return _distinct(entry for file in files for entry in file.find(workload))

    def buckets(self) -> list[str]:
        """See :class:`Store`."""
        names = {name for folder in self._folders() for name in self._listing(folder).buckets}
        return sorted(names.union(*(file.buckets() for file in self._loose_files())))

    def read(self, bucket: str) -> list[Entry]:
        """See :class:`Store`."""
        found = []
        for file in self._files_of(bucket):
            for entry in file.entries():
                found.append(entry)
                if bucket_of(entry.workload) != bucket:
                    self.report(
                        f"{file.path}: record {entry.digest[:12]} belongs to another file, so that "
                        "look-ups miss it: merge this log into a new one"
                    )
        for file in self._loose_files():
            found += file.of_bucket(bucket)
        return sorted(_distinct(found), key=lambda entry: entry.digest)

    def discard(self, entries: Collection[Entry]) -> int:
        """See :class:`Store`."""
        if not entries:
            return 0
        buckets = {bucket_of(entry.workload) for entry in entries}
        files = [file for bucket in sorted(buckets) for file in self._files_of(bucket)]
        return sum(file.discard(entries) for file in [*files, *self._loose_files()])

    def close(self) -> None:
        """See :class:`Store`."""
        self._files.clear()
        self._loose.clear()

    def _elsewhere(self, path: Path, entries: list[Entry]) -> set[str]:
        """Digests of those that lie in a file of another name already."""
        others = [file for file in self._loose_files() if file.path != path]
        return {digest for file in others for digest in file.held(entries)}

    def _prepare(self) -> None:
        attributes = self.folder / ".gitattributes"
        try:
            if attributes.exists():
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError), attributes.open("x") as file:
                file.write(_GIT_ATTRIBUTES)
        except OSError as error:
            raise LogError(
                f"can't write: {error.strerror}",
                where=self.where,
                hint="Give a log that you can write to with --log.",
            ) from error

    def _file(self, path: Path) -> LogFile:
        file = self._files.pop(path, None) or LogFile(path, self.report)
        self._files[path] = file
        while len(self._files) > _FILES_IN_MEMORY:
            self._files.popitem(last=False)
        return file

    def _files_of(self, bucket: str) -> Iterator[LogFile]:
        for folder in self._folders():
            path = folder / f"{bucket}.jsonl"
            try:
                there = path.exists()
            except OSError as error:
                raise LogError(f"can't be read: {error.strerror}", where=str(path)) from error
            if there:
                yield self._file(path)

    def _loose_files(self) -> list[LogFile]:
        found = [self.folder / name for name in self._listing(self.folder).loose]
        for folder in self._folders():
            found += [folder / name for name in self._listing(folder).loose]
        return [self._loose.setdefault(path, LogFile(path, self.report)) for path in found]

    def _folders(self) -> list[Path]:
        return [self.folder / name for name in self._listing(self.folder).folders]

    def _listing(self, folder: Path) -> _Listing:
        """What is in ``folder``, looked at again only after something came or went."""
        try:
            changed = folder.stat().st_mtime_ns
            known = self._listings.get(folder)
            if known is None or known.changed != changed:
                known = _list(folder, changed, top=folder == self.folder)
                # Time stamps are coarse: one of just now may hide a change that is still to come.
                if time.time_ns() - changed > _SETTLED_NS:
                    self._listings[folder] = known
            return known
        except (FileNotFoundError, NotADirectoryError):
            return _Listing(0, [], [], [])
        except OSError as error:
            raise LogError(f"can't be read: {error.strerror}", where=str(folder)) from error


class _Listing(NamedTuple):
    """Names in a folder, sorted; the folder was last changed then."""

    changed: int
    folders: list[str]
    buckets: list[str]
    loose: list[str]


def _list(folder: Path, changed: int, top: bool) -> _Listing:
    listing = _Listing(changed, [], [], [])
    with os.scandir(folder) as found:
        for item in sorted(found, key=lambda item: item.name):
            if not top and _BUCKET_FILE.fullmatch(item.name):
                listing.buckets.append(item.name.removesuffix(".jsonl"))
            elif item.name.endswith(".jsonl"):
                listing.loose.append(item.name)
            elif top and item.is_dir() and not item.name.startswith("."):
                listing.folders.append(item.name)
    return listing


def _distinct(entries: Iterator[Entry] | list[Entry]) -> list[Entry]:
    return list({entry.digest: entry for entry in entries}.values())


def _folder_of(entry: Entry) -> str:
    if entry.summary.type == "workload":
        return "workloads"
    try:
        return _folder_name(entry.target.name)
    except ValueError:
        return "_"


@lru_cache
def _folder_name(target_name: str) -> str:
    """A target's name as a folder's: a name from a user's file can't lead out of the log."""
    return re.sub(r"[^A-Za-z0-9_+-]+", "_", target_name)[:80] or "_"
