"""A folder appears whole, or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tvmcomp.errors import ConfigError
from tvmcomp.export.folder import new_folder


@pytest.mark.parametrize("there", [False, True])
def test_a_new_or_empty_folder_is_filled(there: bool, tmp_path: Path) -> None:
    path = tmp_path / "made"
    if there:
        path.mkdir()
    with new_folder(path) as temporary:
        (temporary / "a.txt").write_text("a")
        assert not (path / "a.txt").exists()
    assert (path / "a.txt").read_text() == "a"
    assert [each.name for each in tmp_path.iterdir()] == ["made"]
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o777 & ~mask


def test_nothing_stays_of_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "made") as temporary:
        (temporary / "a.txt").write_text("a")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_no_folder_of_that_name(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from tvmcomp.export.folder import new_folder
with new_folder(Path(sys.argv[1])) as folder:
    (folder / "a.txt").write_text("a")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "made"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "made").exists()


def test_what_is_there_is_left(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for path, said in ((full, "not empty"), (tmp_path / "file", "is a file")):
        with pytest.raises(ConfigError, match=said) as error, new_folder(path):
            raise AssertionError("it must not begin")
        assert error.value.where == str(path)
    assert (full / "mine.txt").read_text() == (tmp_path / "file").read_text() == "mine"


def test_a_place_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="Not a dir"), new_folder(tmp_path / "file" / "a" / "b"):
        raise AssertionError("it must not begin")


def test_folders_above_it_are_made_with_it(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "made"
    with pytest.raises(ZeroDivisionError), new_folder(path):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with new_folder(path) as temporary:
        (temporary / "a.txt").write_text("a")
    assert [each.name for each in path.iterdir()] == ["a.txt"]
    assert [each.name for each in path.parent.iterdir()] == ["made"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with new_folder(tmp_path / "link") as temporary:
        (temporary / "a.txt").write_text("a")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a.txt").read_text() == "a"
