"""What a run keeps on disk while it goes on, so that one that was killed goes on where it was.

    run.json      what the run is of (model, samples, recipe, seed, version), and for each finished
                  step: the SHA-256 of its network, its notes, the seconds that it took
    0.onnx …      what each finished step made
    0/ …          the step's own checkpoints, and numbers that took long to find
    times.json    what small models take on the target

Every file is written beside its place and then renamed. A folder that is another run's, or damaged,
is emptied; one that holds anything else is left alone.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import onnx

from tvmcomp.compress.original import content_digest
from tvmcomp.compress.technique import Applied
from tvmcomp.errors import ConfigError, ModelError
from tvmcomp.frontend.written import write_onnx
from tvmcomp.one_at_a_time import one_at_a_time
from tvmcomp.replaced_file import replaced_file

_STATE, _TIMES = "run.json", "times.json"
#: The names of what a run writes, those of files that it was killed in the midst of among them.
_OWN = re.compile(r"run\.json|times\.json|\d+|\d+\.onnx(\.data)?|\.tvmcomp-.*")
#: Gives another folder.
_OPTION = "--checkpoint"


class _Step(msgspec.Struct, forbid_unknown_fields=True):
    digest: str
    notes: tuple[str, ...]
    seconds: float


class _State(msgspec.Struct, forbid_unknown_fields=True):
    run: str
    steps: list[_Step] = []


class RunFolder:
    """The folder of one run. Without a path nothing is kept."""

    def __init__(self, path: Path | None, run: Mapping[str, Any]) -> None:
        """Args:
        path: the folder; it is made when something is kept.
        run: what the run is of, as JSON can hold it.

        Raises:
            ConfigError: ``path`` is there, and is no folder of a run, or another process's.
        """
        self.path = path
        identity = json.dumps(run, sort_keys=True, default=str).encode()
        self._state = _State(hashlib.sha256(identity).hexdigest())
        #: Whether an earlier run's work was found.
        self.resumed = False
        if path is None or not path.exists():
            return
        found = _read(path)
        if found is not None and found.run == self._state.run:
            self._state, self.resumed = found, True
        else:
            with one_at_a_time(path, _OPTION):
                _clear(path)

    def finished(self, index: int) -> tuple[Applied, float] | None:
        """What step ``index`` made, and the seconds that it took, where a run before this one
        finished it."""
        if self.path is None or index >= len(self._state.steps):
            return None
        step = self._state.steps[index]
        try:
            model = onnx.load(self.path / f"{index}.onnx")
        # It is gone or damaged; whatever onnx raises speaks of the file.
        except Exception:  # noqa: BLE001
            model = None
        if model is None or content_digest(model) != step.digest:
            del self._state.steps[index:]
            return None
        return Applied(model, step.notes), step.seconds

    def keep(self, index: int, applied: Applied, seconds: float) -> None:
        """Keep what step ``index`` made.

        Raises:
            ModelError: it can't be written.
        """
        if self.path is None:
            return
        step = _Step(content_digest(applied.model), applied.notes, seconds)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_onnx(applied.model, self.path / f"{index}.onnx")
            self._state.steps[index:] = [step]
            self._write()
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def of_step(self, index: int) -> Path | None:
        """The folder of the checkpoints of step ``index``, made; None where nothing is kept.

        Raises:
            ModelError: it can't be made.
        """
        return self._made(str(index))

    @property
    def times(self) -> Path | None:
        """The file of what small models take; None where nothing is kept. :meth:`make` makes its
        folder."""
        return None if self.path is None else self.path / _TIMES

    def make(self) -> None:
        """Make the folder, where anything is kept.

        Raises:
            ModelError: it can't be made.
        """
        self._made(".")

    @contextmanager
    def held(self) -> Iterator[None]:
        """This process alone works in the folder; one that nothing was kept in goes at the end.

        Raises:
            ConfigError: another process does.
            ModelError: it can't be made.
        """
        if self.path is None:
            yield
            return
        self.make()
        with one_at_a_time(self.path, _OPTION):
            try:
                yield
            finally:
                if self.path.is_dir() and [each.name for each in self.path.iterdir()] == [_STATE]:
                    self.remove()

    def remove(self) -> None:
        """Remove it, once there is nothing to go on with."""
        if self.path is not None:
            _clear(self.path)

    def _made(self, name: str) -> Path | None:
        """A folder in it."""
        if self.path is None:
            return None
        folder = self.path / name
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not (self.path / _STATE).exists():
                self._write()
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise _cannot_write(self.path, error) from error
        return folder

    def _write(self) -> None:
        assert self.path is not None
        with replaced_file(self.path / _STATE) as temporary:
            temporary.write_bytes(msgspec.json.encode(self._state))


def _read(path: Path) -> _State | None:
    """What is noted in a folder; None where nothing is, or it is damaged.

    Raises:
        ConfigError: it is no folder of a run.
    """
    if not path.is_dir() or not all(_OWN.fullmatch(child.name) for child in path.iterdir()):
        raise ConfigError(
            "is there, and holds other things than the work of a run that was stopped",
            where=str(path),
            hint="Move it away, or give another folder with --checkpoint.",
        )
    try:
        return msgspec.json.decode((path / _STATE).read_bytes(), type=_State)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _clear(path: Path) -> None:
    """Remove what a run wrote, and the folder if nothing else is in it."""
    for child in path.iterdir() if path.is_dir() else ():
        if not _OWN.fullmatch(child.name):
            continue
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child, ignore_errors=True)
        else:
            child.unlink(missing_ok=True)
    with suppress(OSError):
        path.rmdir()


def _cannot_write(folder: Path, error: OSError) -> ModelError:
    return ModelError(
        f"checkpoints can't be written: {error.strerror or error}",
        where=str(folder),
        hint="Make room there, or give another folder with --checkpoint.",
    )
