"""``tvmcomp logs``: what each command prints, and its exit status."""

from pathlib import Path

import pytest
from command_line import message_of, succeeds, tvmcomp
from made_up import records, trial, workload

from tvmcomp.tuning.log.line import Entry, encode
from tvmcomp.tuning.log.places import open_store


@pytest.fixture
def logs(tmp_path):
    """A folder and a database that share ten records of thirty each."""
    places = {}
    for name, start in (("folder", 0), ("log.db", 20)):
        store = open_store(tmp_path / name)
        store.add(records(30, start=start))
        store.close()
        places[name] = str(tmp_path / name)
    return places["folder"], places["log.db"]


def count(log):
    return succeeds("logs", "stats", log)["records"]


def test_stats(logs):
    folder, database = logs
    report = succeeds("logs", "stats", folder)
    assert report["records"] == 30 and report["workloads"] == 8 and report["failed"] == 0
    assert report["targets"] == {"skylake": 30} and report["problems"] == []
    assert succeeds("logs", "stats", "--log", database) == {
        **report,
        "log": f"sqlite:///{database}",
    }
    printed = tvmcomp("logs", "stats", folder)
    assert printed.returncode == 0 and "records    30" in printed.stdout


def test_merging_is_a_union_in_either_order(logs, tmp_path):
    folder, database = logs
    one, other = tmp_path / "one", tmp_path / "other.db"
    done = succeeds("logs", "merge", one, folder, database)
    assert [each["added"] for each in done["sources"]] == [30, 20]
    succeeds("logs", "merge", other, database, folder)
    listed = [succeeds("logs", "list", log)["records"] for log in (one, other)]
    assert listed[0] == listed[1] and len(listed[0]) == 50
    assert count(folder) == 30 and count(database) == 30
    again = succeeds("logs", "merge", one, other)
    assert [each["added"] for each in again["sources"]] == [0]


def test_push_and_pull(logs, tmp_path):
    folder, database = logs
    assert succeeds("logs", "push", database, "--log", folder)["sources"][0]["added"] == 20
    assert count(database) == 50 and count(folder) == 30
    assert succeeds("logs", "pull", database, "--log", folder)["sources"][0]["added"] == 20
    assert count(folder) == 50
    assert succeeds("logs", "pull", database, "--log", tmp_path / "new")["into"]


def test_list_and_show(logs):
    folder, _ = logs
    listed = succeeds("logs", "list", folder, "--workload", workload(3))["records"]
    assert {row["workload"] for row in listed} == {workload(3)}
    assert listed[0]["seconds"] > 0 and listed[0]["device"] == "Desktop 9000"
    assert len(succeeds("logs", "list", folder, "--limit", 5)["records"]) == 5
    assert succeeds("logs", "list", folder, "--target", "pi")["records"] == []
    shown = succeeds("logs", "show", listed[0]["id"][:10], folder)
    assert shown["id"] == listed[0]["id"] and shown["trace"] and shown["versions"]["tvm"]
    assert "there is no such record" in message_of(tvmcomp("logs", "show", "zzz", folder))
    assert "30 records have" in message_of(tvmcomp("logs", "show", "", folder))


def test_prune(logs):
    folder, _ = logs
    store = open_store(folder)
    store.add([Entry(encode(trial(0, run_secs=(), error="run crash: x")))])
    store.add([Entry(encode(trial(0, 1.0, is_baseline=True)))])
    assert succeeds("logs", "prune", folder, "--keep", 2, "--dry-run")["removed"] == 15
    assert count(folder) == 32
    assert succeeds("logs", "prune", folder, "--keep", 2)["removed"] == 15
    listed = succeeds("logs", "list", folder, "--workload", workload(0))["records"]
    assert sorted(row["seconds"] for row in listed) == [1e-6, 9e-6, 1.0]


def test_hostile_lines_are_reported_skipped_and_kept(logs, tmp_path):
    folder, _ = logs
    good = encode(trial(1)).decode()
    bad = [
        '{"type":"trial"',
        good.replace('"schema":1', '"schema":99'),
        good.replace('"run_secs":[0.001]', '"run_secs":[1e999]'),
        good.replace('"trace":[', '"trace":{"__reduce__":[').replace(',"kernel"', '},"kernel"'),
        good.replace('"skylake"', '"\\u001b[31m[red]../../evil"'),  # strange, and yet a name
        '{"a":' + "[" * 10_000,
    ]
    Path(folder, "team.jsonl").write_text("\n".join(bad) + "\n")
    report = succeeds("logs", "stats", folder)
    assert report["records"] == 31 and len(report["problems"]) == 5
    listed = tvmcomp("logs", "list", folder)
    assert listed.returncode == 0 and "\x1b" not in listed.stdout
    merged = succeeds("logs", "merge", tmp_path / "clean", folder)
    assert merged["sources"][0]["added"] == 31 and len(merged["problems"]) == 5
    assert not (tmp_path / "evil").exists() and not (tmp_path.parent / "evil").exists()
    assert count(tmp_path / "clean") == 31
    assert Path(folder, "team.jsonl").read_text() == "\n".join(bad) + "\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stats", "absent"], "there is no such log"),
        (["stats", "absent.db"], "there is no such log"),
        (["list", "mysql://host/db"], "no place for a log"),
        (["stats", "a", "b"], "takes one LOG"),
        (["merge", "only-one"], "Missing argument"),
        (["merge", "new", "absent"], "there is no such log"),
        (["pull", "postgresql://x:secret@127.0.0.1:1/db"], "127.0.0.1:1/db"),
        (["import", "absent"], "can't be read"),
        (["export", "out", "--log", "absent"], "there is no such log"),
        (["verify", "absent"], "there is no such log"),
        (["frobnicate"], "No such command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistakes_have_one_message(tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    message = message_of(tvmcomp("logs", *arguments))
    assert said in message and "secret" not in message


@pytest.mark.parametrize(
    "name",
    ["list", "show", "stats", "verify", "merge", "prune", "push", "pull", "import", "export"],
)
def test_help_has_an_example(name):
    done = tvmcomp("logs", name, "--help")
    assert done.returncode == 0 and f"tvmcomp logs {name} " in done.stdout
    assert "--json" in done.stdout
