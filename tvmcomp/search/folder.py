"""The folder of a search: looked at while it goes on, and gone on with after a kill.

    search.json          what the search is of: model, samples, target, device, seed, version
    measurements.jsonl   a line for each finished measurement
    front.json           what was found so far
    table.json           the tables of costs and harms
    candidates/ID/       model.onnx, model.tvmc and recipe.toml of each candidate
    best.tvmc, best.onnx
    work/                steps that are done of what is being made, and numbers that took long

A line is appended with one write and synced; a torn last line, of a kill in its midst, is cut off.
Every other file is written beside its place and then renamed.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tvmcomp.errors import ConfigError, ModelError
from tvmcomp.replaced_file import replaced_file
from tvmcomp.search.earlier import FILES, Earlier, file_line
from tvmcomp.search.measurement import Measurement, read_measurements

_RUN, _LINES, FRONT, TABLE = "search.json", "measurements.jsonl", "front.json", "table.json"
#: More than any search writes; what is larger is none of ours.
_MOST_BYTES = 1 << 28

S = TypeVar("S", bound=msgspec.Struct)


class Folder:
    """A search's folder.

    Attributes:
        path: it.
        resumed: whether an earlier run's work was found.
        earlier: other searches, whose folders have a part of what this one needs.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], log: Path | None = None) -> None:
        """Args:
        path: made where it is not there.
        identity: what the search is of, as JSON can hold it.
        log: of the folders of searches; None is the user's own.

        Raises:
            ConfigError: it holds something else, or another search.
            ModelError: it can't be written to.
        """
        self.path = path
        self._lines = path / _LINES
        wanted = json.loads(json.dumps(identity, default=str))
        if path.exists():
            _check(path, wanted)
        self.resumed = self._lines.exists()
        with _writing(self.path):
            path.mkdir(parents=True, exist_ok=True)
            self._known = {(each.kind, each.of): each for each in self._read()}
        self.write(_RUN, wanted)
        self.earlier = Earlier(wanted, path, log)
        self.earlier.write_down()

    def known(self, kind: str, of: str) -> dict[str, Any] | None:
        """What a measurement found that is finished, here or in an earlier search that shares all
        that it depends on; None where it is not."""
        found = self._known.get((kind, of))
        if found is None and (found := self.earlier.measured(kind, of)) is not None:
            self._append(found)
        return None if found is None else found.found

    def took(self, kind: str, of: str) -> float:
        """The seconds of a measurement that is finished; 0 where it is not."""
        found = self._known.get((kind, of))
        return 0.0 if found is None else found.seconds

    @property
    def seconds(self) -> float:
        """What all finished measurements took."""
        return sum(each.seconds for each in self._known.values())

    def keep(self, kind: str, of: str, began: float, found: Mapping[str, Any]) -> None:
        """Keep a finished measurement.

        Args:
            kind, of: its key.
            began: when, by ``time.monotonic()``.
            found: what came of it.

        Raises:
            ModelError: it can't be written.
        """
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._append(Measurement(kind, of, now, round(time.monotonic() - began, 3), dict(found)))

    def copied(self, candidate: str, kind: str) -> bool:
        """Whether an earlier search has a file of a candidate, which then is here, too.

        Args:
            candidate: its id.
            kind: one of :data:`tvmcomp.search.earlier.FILES`.
        """
        return self.earlier.copy(kind, candidate, self.of(candidate) / FILES[kind])

    def keep_files(self, candidate: str) -> None:
        """Keep what a candidate's files are, for later searches."""
        for kind, name in FILES.items():
            if (kind, candidate) not in self._known:
                found = file_line(kind, self.of(candidate) / name)
                self.keep(kind, candidate, time.monotonic(), found)

    def _append(self, line: Measurement) -> None:
        with _writing(self.path), self._lines.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._known[line.kind, line.of] = line

    def write(self, name: str, document: Any) -> None:
        """Write a JSON document, as a whole or not at all.

        Raises:
            ModelError: it can't be written.
        """
        write_document(self.path / name, document)

    def of(self, candidate: str) -> Path:
        """The folder of a candidate's files, made."""
        return self._made("candidates", candidate)

    def work(self, name: str) -> Path:
        """The folder of what is being made, made."""
        return self._made("work", name)

    def _made(self, *names: str) -> Path:
        folder = self.path.joinpath(*names)
        with _writing(self.path):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _read(self) -> list[Measurement]:
        """The lines; what a kill left of the last is cut off."""
        if not self._lines.exists():
            return []
        text = self._lines.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            os.truncate(self._lines, len(whole))
        try:
            return read_measurements(whole)
        except ValueError:
            raise ConfigError(
                "is damaged", where=str(self._lines), hint="Give another folder with -o."
            ) from None


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """What goes wrong is told as the folder's fault: it is full, or not the user's."""
    try:
        yield
    except OSError as error:
        raise ModelError(
            f"can't be written to: {error.strerror or error}",
            where=str(path),
            hint="Make room, or give another folder with -o.",
        ) from error


def write_document(file: Path, document: Any) -> None:
    """Write a JSON document, as a whole or not at all.

    Raises:
        ModelError: it can't be written.
    """
    with _writing(file.parent), replaced_file(file) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1))


def copied(source: Path, file: Path) -> None:
    """Copy a file, as a whole or not at all.

    Raises:
        ModelError: it can't be written.
    """
    with _writing(file.parent), replaced_file(file) as temporary:
        shutil.copyfile(source, temporary)


def read_front(path: Path, kind: type[S]) -> S | None:
    """What a search found so far, by its file; None where nothing is written yet.

    Raises:
        ConfigError: it is damaged.
    """
    file = path / FRONT
    try:
        if not file.exists():
            return None
        if file.stat().st_size > _MOST_BYTES:
            raise ConfigError("is no file of a search: it is too large", where=str(file))
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError("is damaged, or can't be read", where=str(file)) from error


def fronts_of_others(folder: Folder, kind: type[S]) -> Iterator[S]:
    """What other searches found whose networks may be taken up as they are."""
    for document in folder.earlier.documents(FRONT):
        try:
            yield msgspec.json.decode(document, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue


def _check(path: Path, wanted: Mapping[str, Any]) -> None:
    """See that a folder is empty or of this search."""
    try:
        empty = path.is_dir() and not any(path.iterdir())
        found = None if empty else json.loads((path / _RUN).read_bytes())
    except (OSError, ValueError, RecursionError):
        raise ConfigError(
            "is there, and is no folder of a search",
            where=str(path),
            hint="Give another folder with -o.",
        ) from None
    if found is None or found == wanted:
        return
    differing = [n for n in wanted if not isinstance(found, dict) or found.get(n) != wanted[n]]
    raise ConfigError(
        f"is of another search: {', '.join(differing)} differ",
        where=str(path),
        hint="Give another folder with -o; what was measured on the device is found again.",
    )
