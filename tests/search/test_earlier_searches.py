"""What a search takes from the folders of earlier ones, and what it must not."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tvmcomp.search import earlier
from tvmcomp.search.built_with import build_digest
from tvmcomp.search.folder import Folder
from tvmcomp.tuning.log.places import own_location

OF = {
    "model": "a", "prepared": "b", "data": "c", "metric": "top1", "target": "rpi4",
    "device": None, "seed": 0, "version": "1",
}  # fmt: skip
KINDS = ("harm", "network", "artifact", "proxy", "ranks", "chosen", "judged")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "data" / "searches.jsonl"


def finished(path: Path, log: Path, **differing: Any) -> Folder:
    """The folder of a search that measured something of every kind, and made one candidate."""
    folder = Folder(path, {**OF, **differing}, log)
    for kind in ("harm", "proxy", "ranks", "chosen", "judged", "timed", "distil"):
        folder.keep(kind, "x", time.monotonic() - 5, {"of": str(path)})
    for name in ("model.onnx", "model.tvmc"):
        (folder.of("x") / name).write_bytes(f"{path} {name}".encode())
    folder.keep_files("x")
    return folder


def taken(folder: Folder) -> set[str]:
    """The kinds of measurements and files that a new search finds in earlier ones."""
    files = {kind for kind in ("network", "artifact") if folder.copied("x", kind)}
    return files | {
        kind for kind in (*KINDS, "timed", "distil")
        if kind not in ("network", "artifact") and folder.known(kind, "x") is not None
    }  # fmt: skip


def test_the_same_search_in_another_folder_takes_all_but_times(tmp_path: Path, log: Path) -> None:
    first = finished(tmp_path / "first", log)
    second = Folder(tmp_path / "second", OF, log)
    assert taken(second) == {*KINDS}
    for name in ("model.onnx", "model.tvmc"):
        assert (second.of("x") / name).read_bytes() == (first.of("x") / name).read_bytes()
    line = (tmp_path / "second" / "measurements.jsonl").read_text().splitlines()[0]
    assert str(tmp_path / "first") in line
    assert second.seconds == 0  # of the budget: it took none
    again = Folder(tmp_path / "second", OF, log)
    assert again.known("harm", "x") == {"of": str(tmp_path / "first")}


@pytest.mark.parametrize(
    ("differing", "left"),
    [
        ({"data": "other"}, set()),
        ({"seed": 1}, set()),
        ({"model": "other"}, set()),
        ({"prepared": "other"}, set()),
        ({"target": "rpi5"}, {"harm"}),
        ({"metric": "agreement"}, {"harm", "network", "artifact"}),
        ({"device": "board:1"}, {"harm", "network", "artifact", "proxy"}),
    ],
)
def test_what_depends_on_what_differs_is_not_taken(
    tmp_path: Path, log: Path, differing: dict[str, Any], left: set[str]
) -> None:
    finished(tmp_path / "first", log)
    assert taken(Folder(tmp_path / "second", {**OF, **differing}, log)) == left


def test_a_changed_file_is_left(tmp_path: Path, log: Path) -> None:
    first = finished(tmp_path / "first", log)
    (first.of("x") / "model.onnx").write_bytes(b"changed")
    (first.of("x") / "model.tvmc").unlink()
    second = Folder(tmp_path / "second", OF, log)
    assert taken(second) == {*KINDS} - {"network", "artifact"}
    assert not list(second.of("x").iterdir())


def test_an_intact_one_is_found_behind_a_changed_one(tmp_path: Path, log: Path) -> None:
    finished(tmp_path / "intact", log)
    newest = finished(tmp_path / "newest", log)
    (newest.of("x") / "model.onnx").write_bytes(b"changed")
    second = Folder(tmp_path / "second", OF, log)
    assert second.copied("x", "network")
    assert (
        (second.of("x") / "model.onnx").read_bytes().startswith(str(tmp_path / "intact").encode())
    )


def test_what_was_built_before_tuning_is_built_again(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    finished(tmp_path / "first", log)
    before = build_digest()
    records = own_location() / "rpi4" / "abc.jsonl"
    records.parent.mkdir(parents=True)
    records.write_text("{}\n")
    assert build_digest() != before
    assert taken(Folder(tmp_path / "second", OF, log)) == {*KINDS} - {"artifact"}


def test_nothing_is_taken_from_other_code(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(earlier, "code_digest", lambda: "older")
        finished(tmp_path / "first", log)
    assert taken(Folder(tmp_path / "second", OF, log)) == set()
    Folder(tmp_path / "first", OF, log)  # two versions worked in it
    assert taken(Folder(tmp_path / "third", OF, log)) == set()


def damage(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)


@pytest.mark.parametrize("content", [b"", b"{}\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n", b"3\n"])
@pytest.mark.parametrize("name", ["search.json", "measurements.jsonl"])
def test_a_damaged_folder_is_as_if_it_were_not_there(
    tmp_path: Path, log: Path, name: str, content: bytes
) -> None:
    finished(tmp_path / "first", log)
    damage(tmp_path / "first", name, content)
    assert taken(Folder(tmp_path / "second", OF, log)) == set()
    shutil.rmtree(tmp_path / "first")
    assert taken(Folder(tmp_path / "third", OF, log)) == set()


def test_torn_and_damaged_lines_of_the_log_cost_no_other(tmp_path: Path, log: Path) -> None:
    finished(tmp_path / "first", log)
    whole = log.read_bytes()
    log.write_bytes(whole + b'{"folder": 3}\n\xff\n' + whole[:20])
    finished(tmp_path / "second", log, seed=1)
    assert taken(Folder(tmp_path / "third", OF, log)) == {*KINDS}
    assert taken(Folder(tmp_path / "fourth", {**OF, "seed": 1}, log)) == {*KINDS}


def test_a_folder_is_written_down_once_and_the_newest_are_read(tmp_path: Path, log: Path) -> None:
    for _ in range(3):
        Folder(tmp_path / "first", OF, log)
    assert log.read_bytes().count(b"first") == 1
    finished(tmp_path / "second", log)
    log.write_bytes(b"{}\n" * 200_000 + log.read_bytes())
    assert taken(Folder(tmp_path / "third", OF, log)) == {*KINDS}
