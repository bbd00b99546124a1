"""From what ``--log`` is given to stores."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from tvmcomp.errors import LogError
from tvmcomp.tuning.log.folder import FolderStore
from tvmcomp.tuning.log.store import Store
from tvmcomp.tuning.log.tuning_log import TuningLog

#: Given in place of a location: without the records that ship.
NO_LOG = "none"

Location = str | os.PathLike[str]
_SQLITE_SUFFIXES = (".db", ".sqlite", ".sqlite3")
_PLACES = "Give a folder, a PATH.db, or a database's address."


def open_store(location: Location, must_exist: bool = False) -> Store:
    """Open one store.

    Args:
        location: a folder; a file whose name ends in ``.db``, ``.sqlite`` or ``.sqlite3``;
            ``sqlite:///PATH``; or ``postgresql://USER@HOST/DATABASE``.
        must_exist: refuse a folder or file that is not there.

    Raises:
        LogError: the location is none of these, or can't be reached.
    """
    text = os.fspath(location)
    if not text:
        raise LogError("the name of a log is empty", hint=_PLACES)
    if "://" in text:
        path = Path(text.removeprefix("sqlite:///")) if text.startswith("sqlite:///") else None
    else:
        path = Path(text)
    try:
        exists, is_folder = path is None or path.exists(), path is not None and path.is_dir()
    except OSError as error:
        raise LogError(f"can't be read: {error.strerror}", where=text) from error
    if must_exist and not exists:
        raise LogError("there is no such log", where=text)
    if "://" in text or text.endswith(_SQLITE_SUFFIXES):
        from tvmcomp.tuning.log.sql import SqlStore

        return SqlStore(text if "://" in text else f"sqlite:///{text}")
    assert path is not None
    if exists and not is_folder:
        raise LogError("is a file, and no SQLite database by its name", where=text, hint=_PLACES)
    return FolderStore(path)


def open_log(log: Location | Sequence[Location] | None = None) -> TuningLog:
    """Open the log that a build and a tuner use.

    Args:
        log: a location, or several: the first is written, all are read. None for
            :func:`own_location`.

    Returns:
        The log; it also finds the records that ship with tvmcomp, unless :data:`NO_LOG` is among
        the locations.
    """
    if log is None or isinstance(log, str | os.PathLike):
        log = [own_location() if log is None else log]
    stores = [open_store(location) for location in log if location != NO_LOG]
    return TuningLog(stores if NO_LOG in log else [*stores, FolderStore(shipped_logs())])


def own_location() -> Path:
    """The user's own log: in ``$XDG_DATA_HOME``, or in ``~/.local/share``."""
    data_home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data_home, "tvmcomp", "tuning_logs").expanduser()


def shipped_logs() -> Path:
    """The folder of records that ship with tvmcomp."""
    installed = Path(str(files("tvmcomp"))) / "data" / "tuning_logs"
    checkout = Path(str(files("tvmcomp"))).parent / "tuning_logs"
    return installed if installed.is_dir() else checkout
