"""What a folder of records does beyond being a store: text files, torn lines, git, cat."""

import os
import shutil
from pathlib import Path

import msgspec
import pytest
from made_up import SKYLAKE, records, trial, workload
from waiting import run

from tvmcomp.errors import LogError
from tvmcomp.tuning.log.folder import FolderStore
from tvmcomp.tuning.log.line import MAX_LINE_BYTES, Entry, encode
from tvmcomp.tuning.log.merge import merge
from tvmcomp.tuning.log.places import shipped_logs
from tvmcomp.tuning.log.store import bucket_of


def one_file(folder: Path) -> Path:
    return folder / "skylake" / f"{bucket_of(workload(0))}.jsonl"


def texts(store, index=0):
    return sorted(entry.text for entry in store.find(workload(index)))


def everything(folder):
    store = FolderStore(folder)
    return {entry.digest for bucket in store.buckets() for entry in store.read(bucket)}


def test_files_are_named_by_target_and_workload(tmp_path):
    FolderStore(tmp_path / "log").add(records(3, workloads=1))
    assert one_file(tmp_path / "log").read_bytes().count(b"\n") == 3


def test_a_log_tells_git_how_to_merge_it(tmp_path):
    shipped = shipped_logs() / ".gitattributes"
    for name in ("new", "there"):
        (tmp_path / "there").mkdir(exist_ok=True)  # a clone of an empty repository
        FolderStore(tmp_path / name).add(records(1))
        assert (tmp_path / name / ".gitattributes").read_text() == shipped.read_text()
    (tmp_path / "there" / ".gitattributes").write_text("mine")
    FolderStore(tmp_path / "there").add(records(2))
    assert (tmp_path / "there" / ".gitattributes").read_text() == "mine"


def test_a_record_in_the_wrong_file_is_reported_and_merged(tmp_path):
    """Look-ups go by the file's name, and so miss it."""
    FolderStore(tmp_path / "log").add(records(3, workloads=1))
    file = one_file(tmp_path / "log")
    file.rename(file.with_name("000.jsonl"))
    store, into = FolderStore(tmp_path / "log"), FolderStore(tmp_path / "into")
    assert not store.find(workload(0))
    assert merge(store, into).added == 3
    assert len(store.problems) == 3 and "belongs to another file" in store.problems[0]
    assert len(into.find(workload(0))) == 3


def test_torn_last_line_is_reported_and_set_aside(tmp_path):
    store = FolderStore(tmp_path)
    entries = records(3, workloads=1)
    store.add(entries[:2])
    file = one_file(tmp_path)
    whole = file.read_bytes()
    torn = entries[2].text[:-40]
    file.write_bytes(whole + torn)  # a writer was killed within its line
    reader = FolderStore(tmp_path)
    assert len(reader.find(workload(0))) == 2
    (problem,) = reader.problems
    assert f"{file} at byte {len(whole)}: torn last line" in problem
    assert reader.find(workload(0)) and len(reader.problems) == 1
    assert store.add(entries[2:]) == 1
    assert "set aside" in store.problems[-1]
    assert file.read_bytes() == whole + entries[2].text + b"\n"
    assert file.with_suffix(".torn").read_bytes() == torn + b"\n"
    again = FolderStore(tmp_path)
    assert len(again.find(workload(0))) == 3 and not again.problems
    assert len(reader.find(workload(0))) == 3


def test_a_whole_last_line_without_newline_stays(tmp_path):
    entries = records(3, workloads=1)
    FolderStore(tmp_path).add(entries[:2])
    file = one_file(tmp_path)
    file.write_bytes(file.read_bytes().rstrip())
    store = FolderStore(tmp_path)
    assert len(store.find(workload(0))) == 2 and not store.problems
    store.add(entries)
    assert [line.encode() for line in file.read_text().splitlines()] == [e.text for e in entries]
    assert len(store.find(workload(0))) == 3


def test_malformed_lines_are_skipped_reported_and_kept(tmp_path):
    good = records(2, workloads=1)
    bad = [b"not json", b'{"schema":9}', b'{"schema":1,"type":"trial"}', b"\0", b"\xff"]
    bad += [b"x" * (MAX_LINE_BYTES + 10), b'{"a":' + b"[" * 5000]
    file = one_file(tmp_path)
    file.parent.mkdir()
    lines = [good[0].text, *bad, b"", good[1].text]
    file.write_bytes(b"\n".join(lines) + b"\n")
    store = FolderStore(tmp_path)
    assert texts(store) == sorted(entry.text for entry in good)
    assert len(store.problems) == len(bad)
    assert store.discard([good[0]]) == 1
    assert file.read_bytes() == b"\n".join(lines[1:]) + b"\n"


def test_an_overlong_last_line_is_set_aside(tmp_path):
    entries = records(1, workloads=1)
    file = one_file(tmp_path)
    file.parent.mkdir()
    file.write_bytes(b"x" * (3 * MAX_LINE_BYTES))
    store = FolderStore(tmp_path)
    store.add(entries)
    assert file.read_bytes() == entries[0].text + b"\n"
    assert file.with_suffix(".torn").stat().st_size == 3 * MAX_LINE_BYTES + 1


@pytest.mark.parametrize("place", ["all.jsonl", "skylake/all.jsonl", "elsewhere/team-2.jsonl"])
def test_joined_files_are_a_log(tmp_path, place):
    """``cat a/*/*.jsonl b/*/*.jsonl > log/…``; the last line of one is torn."""
    first, second = records(20), records(20, start=10)
    for folder, entries in (("a", first), ("b", second)):
        FolderStore(tmp_path / folder).add(entries)
    files = sorted([*tmp_path.glob("a/*/*.jsonl"), *tmp_path.glob("b/*/*.jsonl")])
    joined = tmp_path / "log" / place
    joined.parent.mkdir(parents=True)
    torn = first[0].text[:100]
    joined.write_bytes(torn + b"".join(file.read_bytes() for file in files))
    store = FolderStore(tmp_path / "log")
    expected = {entry.digest for entry in [*first, *second]}
    for index in range(8):
        wanted = {e.digest for e in [*first, *second] if e.workload == workload(index)}
        # In a new one, too: what one look-up has parsed is no help to the next.
        for reader in (store, FolderStore(tmp_path / "log")):
            assert {e.digest for e in reader.find(workload(index))} == wanted
    assert everything(tmp_path / "log") == expected and len(store.problems) == 1
    # What lies there is not written again, and what is removed is removed there.
    assert store.add(records(31)) == 1
    assert store.discard(store.find(workload(0))) > 0
    assert not FolderStore(tmp_path / "log").find(workload(0))


def test_the_same_line_in_two_files_counts_once(tmp_path):
    store = FolderStore(tmp_path)
    store.add(records(8))
    shutil.copytree(tmp_path / "skylake", tmp_path / "copy")
    assert len(FolderStore(tmp_path).find(workload(0))) == 1
    assert len(everything(tmp_path)) == 8


def test_git_merges_logs(tmp_path):
    def git(*arguments):
        command = ["git", "-c", "user.name=x", "-c", "user.email=x@x", *arguments]
        return run(command, cwd=tmp_path, capture_output=True)

    store = FolderStore(tmp_path / "log")
    git("init", "-q", "-b", "main")
    store.add(records(8))
    git("add", ".")
    git("commit", "-qm", "base")
    git("checkout", "-qb", "theirs")
    store.add(records(40, start=8))
    git("add", ".")
    git("commit", "-qm", "theirs")
    git("checkout", "-q", "main")
    FolderStore(tmp_path / "log").add(records(40, start=100))
    git("add", ".")
    git("commit", "-qm", "ours")
    git("merge", "-q", "theirs", "-m", "both")
    merged = [*records(48), *records(40, start=100)]
    assert everything(tmp_path / "log") == {entry.digest for entry in merged}


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "..", ".", "", "a/../../b", "x" * 300])
def test_a_targets_name_does_not_lead_out_of_the_log(tmp_path, name):
    store = FolderStore(tmp_path / "log")
    store.add([Entry(encode(trial(target=msgspec.structs.replace(SKYLAKE, name=name))))])
    (file,) = tmp_path.rglob("*.jsonl")
    assert file.parent.parent == tmp_path / "log"
    assert len(FolderStore(tmp_path / "log").find(workload(0))) == 1


def test_unwritable_log_is_a_clear_error(tmp_path):
    (tmp_path / "log").write_text("a file, not a folder")
    with pytest.raises(LogError, match="can't write"):
        FolderStore(tmp_path / "log").add(records(1))
    assert (tmp_path / "log").read_text() == "a file, not a folder"


def test_a_record_joined_with_another_is_found(tmp_path):
    """The first file's last line had no newline."""
    one, other = records(2, workloads=2)
    place = tmp_path / "all.jsonl"
    place.write_bytes(one.text + other.text + b"\n")
    assert everything(tmp_path) == {one.digest, other.digest}
    for entry in (one, other):
        assert [e.text for e in FolderStore(tmp_path).find(entry.workload)] == [entry.text]
    assert FolderStore(tmp_path).add([other]) == 0


def test_what_can_not_be_read_outlives_its_neighbour_on_the_line(tmp_path):
    (entry,) = records(1)
    newer = entry.text.replace(b'"schema":1', b'"schema":2')
    place = tmp_path / "all.jsonl"
    place.write_bytes(newer + entry.text + b"\n")
    assert FolderStore(tmp_path).discard([entry]) == 1
    assert place.read_bytes() == newer + b"\n"


@pytest.mark.parametrize("what", ["pipe", "device", "folder", "loop"])
def test_a_file_that_is_no_regular_one_is_a_clear_error(tmp_path, what):
    FolderStore(tmp_path).add(records(1))
    path = tmp_path / "skylake" / "loose.jsonl"
    if what == "pipe":  # opening one waits for a writer
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to(path)
    with pytest.raises(LogError, match=r"loose\.jsonl: can't be read"):
        everything(tmp_path)
