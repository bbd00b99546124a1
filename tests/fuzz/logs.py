"""Tuning logs: lines, files and folders damaged; tables of SQLite that hold anything."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from random import Random

import odd
from made_up import DESKTOP, SKYLAKE, VERSIONS, records, trial, workload

from tvmcomp.targets import TargetDescription
from tvmcomp.tuning.log.line import Entry, encode
from tvmcomp.tuning.log.merge import merge
from tvmcomp.tuning.log.places import open_log, open_store
from tvmcomp.tuning.log.record import Definition, Finished
from tvmcomp.tuning.log.statistics import statistics
from tvmcomp.tuning.log.store import bucket_of

_TABLE = "tvmcomp_records"
_COLUMNS = "bucket VARCHAR(3), workload VARCHAR(16), digest VARCHAR(64), line TEXT"
_VIEWS = (
    f"CREATE VIEW {_TABLE} AS SELECT 'abc' bucket, 'w' workload, 'd' digest, 'l' line",
    f"CREATE VIEW {_TABLE} AS WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c) "
    "SELECT 'abc' bucket, 'w' workload, i digest, 'l' line FROM c",
    f"CREATE TABLE {_TABLE} ({_COLUMNS})",
    f"CREATE TABLE {_TABLE} (bucket, workload, digest)",
    f"CREATE TABLE {_TABLE} (bucket INTEGER, workload BLOB, digest REAL, line NUMERIC)",
    f"CREATE TABLE other ({_COLUMNS})",
    f"CREATE TABLE {_TABLE} ({_COLUMNS}, more TEXT NOT NULL)",
    f"CREATE VIRTUAL TABLE {_TABLE} USING fts5(bucket, workload, digest, line)",
)


@cache
def _entries() -> list[Entry]:
    plain = trial(0)
    others = (
        trial(1, run_secs=(), error="build error: x"),
        trial(2, baseline_secs=(2e-3,), confirmed=True, space="dense", choices={"a": 1, "b": [2]}),
        trial(3, run_secs=(1e-3, 2e-3), baseline_secs=(2e-3, 2e-3), is_baseline=True),
        Finished(
            workload=plain.workload,
            versions=VERSIONS,
            date=plain.date,
            target=plain.target,
            device=DESKTOP,
            trials=10,
        ),
        Definition(workload=plain.workload, versions=VERSIONS, date=plain.date, module="module"),
    )
    return [*records(12, workloads=4), *(Entry(encode(line)) for line in others)]


def make(rng: Random, folder: Path) -> Path:
    """Write a folder of records, or a database."""
    return _folder(rng, folder) if rng.random() < 0.6 else _database(rng, folder)


def _line(rng: Random) -> bytes:
    """One line, mostly edited."""
    text = rng.choice(_entries()).text
    kind = rng.randrange(6)
    if kind == 0:
        return text
    if kind == 1:
        return odd.damaged(text, rng)
    if kind == 2:
        return text[: rng.randrange(len(text))] + text  # torn, and joined with another
    return odd.json_text(odd.edited(json.loads(text), rng))


def _folder(rng: Random, folder: Path) -> Path:
    place = folder / "log"
    with closing(open_store(place)) as store:
        store.add(_entries())
    files = sorted(place.rglob("*.jsonl"))
    for _ in range(rng.choice([1, 1, 3])):
        path = rng.choice(files)
        kind = rng.randrange(8)
        if kind == 0:
            path.write_bytes(odd.damaged(path.read_bytes() if path.is_file() else b"", rng))
        elif kind == 1:
            path = path.with_name(f"{rng.choice(['000', 'loose', 'x' * 200, '名'])}.jsonl")
            path.write_bytes(b"\n".join(_line(rng) for _ in range(3)))
        elif kind == 2:
            _put_odd_file(place, path, rng)
        else:
            with path.open("ab") as file:
                file.write(_line(rng) + rng.choice([b"\n", b"", b"\r\n", b"\0\n", b"\n\n"]))
    return place


def _put_odd_file(place: Path, path: Path, rng: Random) -> None:
    """What else may lie in a folder: links, pipes, folders with a file's name."""
    path = rng.choice([place / "odd.jsonl", path.with_name("fff.jsonl"), path.with_name("o.jsonl")])
    kind = rng.randrange(6)
    if path.exists() or path.is_symlink():
        return
    if kind == 0:
        path.symlink_to(path)
    elif kind == 1:
        path.mkdir()
    elif kind == 2:
        os.mkfifo(path)
    elif kind == 3:
        path.symlink_to("/dev/zero")
    elif kind == 4:
        with contextlib.suppress(FileExistsError):
            (place / "loop").symlink_to(place)
    else:
        os.close(os.open(os.fsencode(path.parent) + b"/\xff\xfe.jsonl", os.O_CREAT))


def _database(rng: Random, folder: Path) -> Path:
    path = folder / "log.db"
    if rng.random() < 0.3:
        with closing(sqlite3.connect(path)) as database, database:
            view = rng.choice(_VIEWS)
            database.execute(view)
            if "TABLE tvm" in view:
                _put_rows(database, rng)
        return path
    with closing(open_store(path)) as store:
        store.add(_entries())
    with closing(sqlite3.connect(path)) as database:
        if rng.random() < 0.5:
            with database:
                _put_rows(database, rng)
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if rng.random() < 0.5:
        path.write_bytes(odd.damaged(path.read_bytes(), rng))
    if rng.random() < 0.1:
        kind = rng.choice(["-wal", "-journal", "-shm"])
        path.with_name(path.name + kind).write_bytes(rng.randbytes(rng.choice([0, 32, 5000])))
    return path


def _put_rows(database: sqlite3.Connection, rng: Random) -> None:
    width = len(list(database.execute(f"PRAGMA table_info({_TABLE})")))
    for _ in range(rng.choice([1, 3])):
        entry = rng.choice(_entries())
        row: list[object] = [
            bucket_of(entry.workload),
            entry.workload,
            entry.digest,
            entry.text.decode(),
        ]
        if rng.random() < 0.5:
            row[3] = _line(rng).decode("utf-8", "replace")
        values = [None, b"\xff\0", -1, 1e300, "", "zzz", "a\0b", "x" * 5000, b""]
        row[rng.randrange(4)] = rng.choice(values)
        try:
            marks = ", ".join("?" * width)
            database.execute(f"INSERT OR REPLACE INTO {_TABLE} VALUES ({marks})", row[:width])
        except sqlite3.Error:
            return  # what SQLite doesn't take can't be in a file


def read(path: Path) -> None:
    """Look up, count, merge and append; whole lines of a file are found, each by its digest."""
    wanted = _whole_lines(path)
    with closing(open_log([path, "none"])) as log:
        found = {entry.digest for entry in log.entries()}
        for index in range(5):
            for target in (SKYLAKE, _other(SKYLAKE)):
                list(log.ranked(workload(index), target, DESKTOP))
                log.trials(workload(index), target)
            log.definition(workload(index))
            log.finished(workload(index), SKYLAKE, 5, DESKTOP)
        statistics(log.stores[0])
        assert wanted <= found, f"{len(wanted - found)} whole records were not found"
        with closing(open_store(path.with_name("copy"))) as copy:
            merge(log.stores[0], copy)
        new = trial(0, 0.5)
        log.append(new)
        assert any(each.record == new for each in log.ranked(workload(0), SKYLAKE, DESKTOP))
        assert all(isinstance(problem, str) for problem in log.problems)


def _other(target: TargetDescription) -> TargetDescription:
    return TargetDescription(name="o", description="", family="arm", triple="aarch64-linux-gnu")


def _whole_lines(path: Path) -> set[str]:
    """Digests of the seeds' lines that stand whole in the file that they were written to."""
    known = {entry.text: entry for entry in _entries()}
    found = set()
    for file in path.rglob("*.jsonl") if path.is_dir() else ():
        if file.is_file() and file.stat().st_size:
            for line in file.read_bytes().split(b"\n"):
                entry = known.get(line)
                if entry and file.name == f"{bucket_of(entry.workload)}.jsonl":
                    found.add(entry.digest)
    return found
