"""The folder of a search: what is finished is found again, whatever a kill left."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from small_disk import small_disk

from tvmcomp.errors import ConfigError, ModelError
from tvmcomp.search.folder import Folder

OF = {"model": "a", "seed": 0, "device": None}


def test_finished_measurements_are_found_again(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "found", OF)
    assert not folder.resumed and folder.known("timed", "x") is None
    folder.keep("timed", "x", time.monotonic() - 2, {"p50_ms": 1.5})
    again = Folder(tmp_path / "found", OF)
    assert again.resumed and again.known("timed", "x") == {"p50_ms": 1.5}
    assert again.seconds == pytest.approx(2, abs=0.5)
    line = json.loads((tmp_path / "found" / "measurements.jsonl").read_text())
    assert {"kind", "of", "at", "seconds", "found"} == set(line)


def test_a_torn_line_is_cut_off(tmp_path: Path) -> None:
    folder = Folder(tmp_path, OF)
    folder.keep("timed", "x", time.monotonic(), {"p50_ms": 1.5})
    whole = (tmp_path / "measurements.jsonl").read_bytes()
    folder.keep("timed", "y", time.monotonic(), {"p50_ms": 2.5})
    file = tmp_path / "measurements.jsonl"
    text = file.read_bytes()
    for end in range(len(whole), len(text)):
        file.write_bytes(text[:end])
        again = Folder(tmp_path, OF)
        assert again.known("timed", "x") and again.known("timed", "y") is None
        assert file.read_bytes() == whole


def test_another_search_is_refused_by_what_differs(tmp_path: Path) -> None:
    Folder(tmp_path, OF)
    with pytest.raises(ConfigError, match="another search: seed differ"):
        Folder(tmp_path, {**OF, "seed": 1})


def test_other_things_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="no folder of a search"):
        Folder(tmp_path, OF)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError, match="no folder of a search"):
        Folder(file, OF)


def test_damaged_lines_are_told_of(tmp_path: Path) -> None:
    Folder(tmp_path, OF)
    (tmp_path / "measurements.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match="is damaged"):
        Folder(tmp_path, OF)


def test_a_full_disk_is_one_error(tmp_path: Path) -> None:
    with small_disk(tmp_path, 64) as disk:
        folder = Folder(disk / "found", OF)
        found = {"numbers": list(range(50_000))}
        with pytest.raises(ModelError, match="can't be written to: No space left"):
            folder.keep("timed", "x", time.monotonic(), found)
        with pytest.raises(ModelError, match="can't be written to: No space left"):
            folder.write("table.json", found)
        assert Folder(disk / "found", OF).known("timed", "x") is None  # the torn line is cut off
