"""The tuning log: a folder of JSON lines that many tuners may append to at once."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from tvmcomp.errors import LogError
from tvmcomp.fingerprint import Fingerprint
from tvmcomp.targets.description import TargetDescription
from tvmcomp.tuning.record import (
    MAX_LINE_BYTES,
    Finished,
    InstructionSet,
    Record,
    Trial,
    decode,
    encode,
)
from tvmcomp.tuning.task import workload_hash

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

_Key = tuple[str, InstructionSet]


def open_store(log: str | os.PathLike[str] | None = None) -> Store:
    """Open the log that a build and a tuner use.

    Args:
        log: the folder to write to and to read first; None for ``tvmcomp/tuning_logs`` in the
            user's data folder (``$XDG_DATA_HOME``, or ``~/.local/share``).

    Returns:
        A store that also finds the records that ship with tvmcomp.
    """
    data_home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    folder = Path(log) if log else Path(data_home, "tvmcomp", "tuning_logs").expanduser()
    return Store(folder, also_read=[_shipped_logs()])


def _shipped_logs() -> Path:
    installed = Path(str(files("tvmcomp"))) / "data" / "tuning_logs"
    checkout = Path(str(files("tvmcomp"))).parent / "tuning_logs"
    return installed if installed.is_dir() else checkout


class Store:
    """A folder with one ``records.jsonl`` in a folder for each target name.

    Every target's records are looked through: what decides is the instruction set that a record
    holds, not the name of the folder.

    Args:
        folder: where new lines go; made when the first one does.
        also_read: further folders of that form, read only.

    Attributes:
        problems: what was wrong with lines that were skipped, one sentence each.
    """

    def __init__(self, folder: Path, also_read: Sequence[Path] = ()) -> None:
        self.folder = folder
        self.problems: list[str] = []
        self._folders = [folder, *also_read]
        self._read_up_to: dict[Path, int] = {}
        self._trials: dict[_Key, list[Trial]] = {}
        self._finished: dict[_Key, list[Finished]] = {}

    def append(self, line: Trial | Finished) -> None:
        """Write ``line`` to the log before returning: ending the process later can't lose it.

        Raises:
            LogError: the file can't be written; it is left as it was.
        """
        data = encode(line)
        if len(data) > MAX_LINE_BYTES:
            raise LogError(f"a record of {len(data)} bytes", where=line.workload.name)
        folder = self.folder / _folder_name(line.target.name)
        path = folder / "records.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    data = b"\n" + data  # a torn line stays alone, and is reported by readers
                if os.write(descriptor, data) != len(data):
                    os.ftruncate(descriptor, size)
                    raise OSError("no space left")
            finally:
                os.close(descriptor)  # releases the lock
        except OSError as error:
            raise LogError(
                f"can't write: {error.strerror or error}",
                where=str(path),
                hint="Give a folder that you can write to with --log DIR.",
            ) from error

    def best(
        self, func: PrimFunc, target: TargetDescription, device: Fingerprint | None = None
    ) -> Record | None:
        """The fastest record of ``func`` for the instruction set of ``target``, or None.

        Args:
            func: a PrimFunc before scheduling.
            target: what it is compiled for.
            device: where it will run, if that is known: records of the same model go first.
        """
        return next(iter(self.ranked(func, target, device)), None)

    def ranked(
        self, func: PrimFunc, target: TargetDescription, device: Fingerprint | None = None
    ) -> list[Record]:
        """Every record that :meth:`best` chooses from, best first."""
        records = [trial for trial in self.trials(func, target) if trial.run_secs]

        def rank(record: Record) -> tuple[bool, float]:
            return (device is None or not device.same_model(record.device), record.seconds)

        return sorted(records, key=rank)

    def trials(self, func: PrimFunc, target: TargetDescription) -> list[Trial]:
        """All trials of ``func`` for the instruction set of ``target``, failed ones too."""
        self._refresh()
        return self._trials.get((workload_hash(func), InstructionSet.of(target)), [])

    def finished(self, func: PrimFunc, target: TargetDescription, trials: int) -> bool:
        """Whether a search of at least ``trials`` trials ended, or one that left nothing to try."""
        self._refresh()
        ended = self._finished.get((workload_hash(func), InstructionSet.of(target)), [])
        return any(line.exhausted or line.trials >= trials for line in ended)

    def _refresh(self) -> None:
        for folder in self._folders:
            for path in sorted(folder.glob("*/records.jsonl")):
                try:
                    self._read_new_lines(path)
                except OSError as error:
                    raise LogError(f"can't read: {error.strerror}", where=str(path)) from error

    def _read_new_lines(self, path: Path) -> None:
        """Take in what was appended to ``path`` since the last time."""
        start = self._read_up_to.get(path, 0)
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == start:
                return
            fcntl.flock(file, fcntl.LOCK_SH)  # no writer is within a line now
            file.seek(start)
            for offset, text in _bounded_lines(file.read(), start):
                self._take_in(text, where=f"{path} at byte {offset}")
            self._read_up_to[path] = file.tell()

    def _take_in(self, text: bytes, where: str) -> None:
        if not text.strip():
            return
        try:
            line = decode(text)
        except ValueError as error:
            self.problems.append(f"{where}: line skipped: {error}")
            return
        if isinstance(line, Trial):
            self._trials.setdefault(line.key, []).append(line)
        else:
            self._finished.setdefault(line.key, []).append(line)


def _bounded_lines(data: bytes, start: int) -> list[tuple[int, bytes]]:
    """Split ``data`` at newlines; (offset in the file, line) of each."""
    lines = []
    for text in data.split(b"\n"):
        lines.append((start, text))
        start += len(text) + 1
    return lines


def _folder_name(target_name: str) -> str:
    """A target's name as a folder's: a name from a user's file can't lead out of the log."""
    return re.sub(r"[^A-Za-z0-9_+-]+", "_", target_name)[:80] or "_"
