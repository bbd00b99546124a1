"""What every kind of store does: a folder, SQLite, PostgreSQL."""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from made_up import DESKTOP, SKYLAKE, records, trial, workload
from waiting import LIMIT, ended, run

from tvmcomp.errors import LogError
from tvmcomp.tuning.log.line import Entry, encode
from tvmcomp.tuning.log.places import open_store
from tvmcomp.tuning.log.store import bucket_of
from tvmcomp.tuning.log.tuning_log import TuningLog


def digests(entries):
    return {entry.digest for entry in entries}


def everything(store):
    return [entry for bucket in store.buckets() for entry in store.read(bucket)]


def test_an_empty_store_holds_nothing_and_looking_makes_nothing(store, location, tmp_path):
    assert store.find(workload(0)) == [] and list(store.buckets()) == [] and store.read("000") == []
    assert store.discard(records(1)) == 0
    assert not list(tmp_path.iterdir())


def test_what_is_written_is_found(store, location):
    entries = records(40, workloads=5)
    assert store.add(entries) == 40
    found = store.find(workload(3))
    assert digests(found) == digests(entries[3::5]) and not store.find(workload(7))
    assert digests(everything(store)) == digests(entries)
    assert list(store.buckets()) == sorted({bucket_of(entry.workload) for entry in entries})
    again = open_store(location)  # another process
    assert digests(everything(again)) == digests(entries)
    assert {entry.text for entry in again.find(workload(3))} == {e.text for e in entries[3::5]}
    again.close()


def test_nothing_is_there_twice(store, location):
    entries = records(10)
    assert store.add(entries) == 10
    assert store.add(entries) == 0
    assert store.add([*records(12), *records(12)]) == 2
    other = open_store(location)
    assert other.add(entries) == 0
    assert len(everything(other)) == 12
    other.close()


def test_what_another_process_writes_is_seen(store, location):
    other = open_store(location)
    assert store.find(workload(0)) == []
    for index in range(3):
        other.add([Entry(encode(trial(0, 1e-3 * (index + 1))))])
        assert len(store.find(workload(0))) == index + 1
    other.discard(other.find(workload(0))[:2])
    assert len(store.find(workload(0))) == 1
    other.close()


def test_discarded_is_gone_and_can_come_back(store):
    entries = records(20, workloads=1)
    store.add(entries)
    assert store.discard(entries[:5]) == 5
    assert digests(store.find(workload(0))) == digests(entries[5:])
    assert store.discard(entries[:5]) == 0
    assert store.add(entries) == 5


def test_unknown_fields_survive(store):
    text = encode(trial(0))[:-1] + b',"colour":"blue"}'
    store.add([Entry(text)])
    (entry,) = store.find(workload(0))
    assert entry.text == text


@pytest.mark.parametrize(
    "location",
    ["mysql://user:secret@host/db", "mysql://host/db?password=secret", "sqlite://", "://", ""],
)
def test_no_place_for_a_log(location):
    with pytest.raises(LogError) as error:
        open_store(location)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "location",
    ["postgresql://user:secret@127.0.0.1:1/db", "postgresql://127.0.0.1:1/db?password=secret"],
)
def test_a_database_that_does_not_answer_is_a_clear_error(location):
    store = open_store(location)
    with pytest.raises(LogError) as error:
        store.add(records(1))
    assert "127.0.0.1:1/db" in str(error.value) and "secret" not in str(error.value)


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path):
    (tmp_path / "x.db").write_text("not a database " * 100)
    with pytest.raises(LogError, match="not a database"):
        open_store(tmp_path / "x.db").find(workload(0))


ENDLESS = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c)"
COLUMNS = "bucket, workload, digest, line"


@pytest.mark.parametrize(
    "statements",
    [
        [f"CREATE VIEW tvmcomp_records ({COLUMNS}) AS {ENDLESS} SELECT i, i, i, i FROM c"],
        [
            f"CREATE TABLE tvmcomp_records ({COLUMNS})",
            "CREATE TRIGGER t AFTER INSERT ON tvmcomp_records BEGIN "
            f"INSERT INTO tvmcomp_records SELECT * FROM ({ENDLESS} SELECT i, i, i, i FROM c); END",
        ],
    ],
    ids=["view", "trigger"],
)
def test_a_database_that_computes_its_records_is_refused(tmp_path, statements):
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    for use in (lambda store: store.buckets(), lambda store: store.add(records(1))):
        with (
            closing(open_store(tmp_path / "log.db")) as store,
            pytest.raises(LogError, match="has a"),
        ):
            use(store)


def test_a_schema_that_is_no_text_is_a_clear_error(tmp_path):
    path = tmp_path / "log.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute(
            "UPDATE sqlite_master SET name = CAST(x'74ff94' AS TEXT), sql = 'CREATE TABLE ('"
        )
    with pytest.raises(LogError, match="the database says"):
        everything(open_store(str(path)))


def test_a_tampered_database_is_read_as_far_as_it_is_ours(tmp_path):
    """A bucket that is no text, text that is not UTF-8, and a line of another workload."""
    path = tmp_path / "x.db"
    store = open_store(path)
    one, other = records(2, workloads=2)
    store.add([one])
    with closing(sqlite3.connect(path)) as connection, connection:
        insert = "INSERT INTO tvmcomp_records VALUES (?, ?, ?, ?)"
        bucket, key = bucket_of(one.workload), one.workload
        connection.execute(insert, (bucket, key, other.digest, other.text.decode()))
        connection.execute(insert, (b"\xff", key, "1" * 64, "x"))
        connection.execute(insert.replace("(?", "(CAST(? AS TEXT)"), (b"\xff", key, "2" * 64, "x"))
    assert next(iter(store.buckets())) == bucket
    assert digests(store.find(one.workload)) == {one.digest}
    assert any("belongs to workload" in problem for problem in store.problems)
    assert any("rows of the bucket" in problem for problem in store.problems)


_WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from made_up import records
from tvmcomp.tuning.log.places import open_store
store = open_store(sys.argv[2])
number = int(sys.argv[3])
for entry in records(1000, start=1000 * number):
    assert store.add([entry]) == 1
# What every process writes at once is there once.
store.add(records(50, start=10**6))
"""


@pytest.mark.slow
@pytest.mark.ci
def test_eight_writers_of_a_thousand_records_each(store, location):
    """Nothing is lost, torn or there twice; look-ups meanwhile give what has been written."""
    here = str(Path(__file__).parent)
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, here, location, str(number)])
        for number in range(8)
    ]
    expected = {entry.digest: entry for entry in [*records(8000), *records(50, start=10**6)]}
    log = TuningLog([store])
    seen: list[set[str]] = [set() for _ in range(8)]
    looks = 0
    deadline = time.monotonic() + 2 * LIMIT
    while any(writer.poll() is None for writer in writers):
        assert time.monotonic() < deadline, "the writers do not end"
        for index in range(8):
            found = digests(store.find(workload(index)))
            assert found <= expected.keys(), "a look-up gave what nobody wrote"
            assert seen[index] <= found, "a record that was there is gone"
            assert all(expected[digest].workload == workload(index) for digest in found)
            fastest = min((expected[d].line.seconds for d in found), default=None)
            best = log.best(workload(index), SKYLAKE, DESKTOP)
            assert fastest is None or (best is not None and best.seconds <= fastest)
            seen[index] = found
            looks += len(found) > 0
    assert [writer.returncode for writer in writers] == [0] * 8
    final = everything(store)
    assert looks > 8 and digests(final) == expected.keys()
    assert len(final) == 8050 and not log.problems


_KILLED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from made_up import records
from tvmcomp.tuning.log.places import open_store
store = open_store(sys.argv[2])
for entry in records(2000, workloads=1):
    store.add([entry])
    os.write(1, b".")
"""


def test_killed_writers_lose_nothing_that_was_written(store, location):
    """kill -9 at 10 moments: each record whose writing had returned is there."""
    promised = 0
    for moment in range(10):
        command = [sys.executable, "-c", _KILLED, str(Path(__file__).parent), location]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE)
        writer.stdout.read(30 + 7 * moment)
        writer.kill()
        promised = max(promised, 30 + 7 * moment + len(writer.stdout.read()))
        writer.stdout.close()
        ended(writer)
        found = store.find(workload(0))
        assert digests(records(promised, workloads=1)) <= digests(found)
        assert len(found) <= promised + 1


_UNTIL_FULL = """
import resource, signal, sys
sys.path.insert(0, sys.argv[1])
from made_up import records
from tvmcomp.errors import LogError
from tvmcomp.tuning.log.places import open_store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = open_store(sys.argv[2])
store.add(records(1))
if sys.argv[3] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
written = 1
try:
    for entry in records(5000, start=1):
        written += store.add([entry])
except LogError as error:
    print(written, error)
    sys.exit(3)
"""


@pytest.mark.parametrize("kind", ["log", "log.db"])
def test_full_disk_leaves_what_was_written(tmp_path, kind):
    """On a small tmpfs where one can be mounted; else a limit of the files' size stands for it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    mounted = run(mount, capture_output=True, check=False).returncode == 0
    try:
        how = "disk" if mounted else "limit"
        command = [sys.executable, "-c", _UNTIL_FULL, str(Path(__file__).parent)]
        command += [str(disk / kind), how]
        done = run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 3, done.stdout + done.stderr
        written = int(done.stdout.split()[0])
        store = open_store(disk / kind)
        assert digests(everything(store)) == digests(records(written)) and not store.problems
        store.close()
    finally:
        if mounted:
            run(["umount", "-l", str(disk)])


_FIRST = """
import sys
sys.path.insert(0, sys.argv[1])
from made_up import records
from tvmcomp.tuning.log.places import open_store
store = open_store(sys.argv[2])
sys.stdin.readline()
store.add(records(1, start=int(sys.argv[3])))
"""


def test_processes_that_make_a_store_at_once(store, location):
    command = [sys.executable, "-c", _FIRST, str(Path(__file__).parent), str(location)]
    writers = [
        subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE) for number in range(4)
    ]
    for writer in writers:
        writer.stdin.write(b"\n")
        writer.stdin.flush()
    assert [writer.wait(timeout=120) for writer in writers] == [0] * 4
    assert len(everything(store)) == 4
