"""What earlier searches found, in their folders: a search begins with all that it shares with them.

The folders of searches are written down beside the user's tuning log, in ``searches.jsonl``: a line
for each, with a digest of the code that worked in it. Nothing is copied there: a folder's owner
keeps or removes it, and what was found in it with it. From the folder of another search comes

- a measurement, where all is the same that it depends on;
- a candidate's network or artifact, where it also is what was written then, by its SHA-256.

What is damaged, gone, or of other code, is as if it had never been.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from tvmcomp.errors import ModelError
from tvmcomp.replaced_file import replaced_file
from tvmcomp.search.built_with import build_digest, code_digest
from tvmcomp.search.lines import append_line, newest_lines
from tvmcomp.search.measurement import Measurement, read_measurements
from tvmcomp.tuning.log.places import own_location
from tvmcomp.tuning.log.record import now

#: What each kind of measurement depends on, of what a search is of.
_NETWORK = ("model", "prepared", "data", "seed")
_SCORED = (*_NETWORK, "metric", "target")
_DEPENDS = {
    "harm": _NETWORK,
    "network": (*_NETWORK, "target"),
    "artifact": (*_NETWORK, "target"),
    "proxy": _SCORED,
    **dict.fromkeys(("ranks", "chosen", "judged"), (*_SCORED, "device")),
}
#: Files of a candidate, by the kind of measurement that holds their digest.
FILES = {"network": "model.onnx", "artifact": "model.tvmc"}
#: Of the file of folders, the newest lines that are read, in bytes.
_READ = 1 << 16
#: More than a search writes; what is larger is none of ours.
_MOST_BYTES = 1 << 28


class _Line(msgspec.Struct, frozen=True):
    """A folder that a search worked in."""

    folder: str
    code: str
    date: str


@dataclass(frozen=True)
class _Search:
    """An earlier search: its folder, and what it was of."""

    path: Path
    identity: Mapping[str, Any]

    @cached_property
    def measurements(self) -> dict[tuple[str, str], Measurement]:
        """What it finished."""
        try:
            lines = read_measurements(_content(self.path / "measurements.jsonl"))
        except (OSError, ValueError):
            return {}
        return {(each.kind, each.of): each for each in lines}


class Earlier:
    """The searches before this one that share something with it, newest first."""

    def __init__(self, identity: Mapping[str, Any], own: Path, log: Path | None = None) -> None:
        """Args:
        identity: what this search is of, as JSON has it.
        own: its folder.
        log: the file of folders; None is the user's own.
        """
        self._log = log or own_location().parent / "searches.jsonl"
        self._own, self._identity = own.resolve(), identity
        self._searches = [*self._read()]

    def measured(self, kind: str, of: str) -> Measurement | None:
        """A measurement of an earlier search that is as good as one of this; None where there is
        none."""
        for search in self._sharing(kind):
            if (found := search.measurements.get((kind, of))) is not None:
                origin = found.taken_from or str(search.path)
                return msgspec.structs.replace(found, taken_from=origin, seconds=0.0)
        return None

    def copy(self, kind: str, of: str, file: Path) -> bool:
        """Copy a file of a candidate from the folder of an earlier search, if any has it.

        Args:
            kind: one of :data:`FILES`.
            of: the candidate's id.
            file: where it is written, as a whole or not at all.

        Raises:
            ModelError: it can't be written.
        """
        for search in self._sharing(kind):
            line = search.measurements.get((kind, of))
            if line is None or line.found.get("build", build_digest()) != build_digest():
                continue
            try:
                content = (search.path / "candidates" / of / FILES[kind]).read_bytes()
            except OSError:
                continue
            if hashlib.sha256(content).hexdigest() == line.found.get("sha256"):
                _write(file, content)
                return True
        return False

    def documents(self, name: str) -> Iterator[bytes]:
        """A file of each search whose networks may be taken up as they are."""
        for search in self._sharing("proxy"):
            try:
                yield _content(search.path / name)
            except OSError:
                continue

    def write_down(self) -> None:
        """Write down this search's folder, for later ones.

        Raises:
            ModelError: it can't be written.
        """
        own = str(self._own)
        if any((line.folder, line.code) == (own, code_digest()) for line in self._lines()):
            return
        append_line(self._log, _Line(own, code_digest(), now()))

    def _sharing(self, kind: str) -> Iterator[_Search]:
        names = _DEPENDS.get(kind, ())
        for search in self._searches if names else ():
            if all(search.identity.get(n) == self._identity.get(n) for n in names):
                yield search

    def _read(self) -> Iterator[_Search]:
        codes: dict[str, set[str]] = {}
        for line in reversed(self._lines()):
            codes.setdefault(line.folder, set()).add(line.code)
        for folder, of in codes.items():
            path = Path(folder)
            if path == self._own or of != {code_digest()}:
                continue
            try:
                identity = msgspec.json.decode(_content(path / "search.json"), type=dict[str, Any])
            except (OSError, msgspec.DecodeError, RecursionError):
                continue
            if identity.get("model") == self._identity.get("model"):
                yield _Search(path, identity)

    def _lines(self) -> list[_Line]:
        return newest_lines(self._log, _Line, _READ)


def file_line(kind: str, file: Path) -> dict[str, str]:
    """What a search keeps of a candidate's file, so that later ones may copy it.

    Args:
        kind: one of :data:`FILES`.
        file: it.
    """
    found = {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    return {**found, "build": build_digest()} if kind == "artifact" else found


def _write(file: Path, content: bytes) -> None:
    try:
        with replaced_file(file) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise ModelError(
            f"can't be written to: {error.strerror or error}", where=str(file.parent)
        ) from error


def _content(file: Path) -> bytes:
    """A file of a search, if it is not too large for one."""
    if file.stat().st_size > _MOST_BYTES:
        raise OSError("too large")
    return file.read_bytes()
