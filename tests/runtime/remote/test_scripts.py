"""The scripts in whatever shell a login has."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from waiting import LIMIT

from tvmcomp.runtime.remote.shell import scripts

SHELLS = [name for name in ("sh", "bash", "zsh", "mksh", "fish", "tcsh") if shutil.which(name)]
#: What some shell takes for something else in some quotes.
ODD = 'it\'s $HOME `x` "q" \\n \\\\ !! !x #'


@pytest.mark.parametrize("shell", SHELLS)
def test_a_folder_of_any_name_and_arguments_of_any_text(shell: str, tmp_path: Path) -> None:
    base = tmp_path / ODD
    base.mkdir()

    def run(script: str, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [shell, "-c", scripts.call(script, *arguments)]
        return subprocess.run(command, input=given, capture_output=True, timeout=LIMIT, check=False)

    holder = subprocess.Popen(
        [shell, "-c", scripts.call(scripts.HOLD, str(base), "60")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin is not None and holder.stdout is not None
    line = holder.stdout.readline().decode()
    assert line.startswith(scripts.HELD)
    folder = line.rstrip("\n").split(" ", 4)[4]
    assert Path(folder).parent == base

    program = b'#!/bin/sh\nprintf "%s|" "$@"\ncat\nexit 7\n'
    assert run(scripts.TAKE, folder, "mine", given=program).stdout.split() == [b"%d" % len(program)]
    done = run(scripts.RUN, folder, "0", "./mine", ODD, "", given=b"given")
    assert done.returncode == 7
    assert done.stdout.decode() == f"{scripts.STARTED}\n{ODD}||given"
    assert run(scripts.READ, f"{folder}/mine").stdout.partition(b"\n")[2] == program
    assert run(scripts.REMOVE, folder, "mine").returncode == 0
    holder.stdin.close()
    holder.stdout.close()
    assert holder.wait(LIMIT) == 0
    assert [*base.iterdir()] == []


@pytest.mark.parametrize("name", ["HOLD", "TAKE", "ALLOW", "RUN", "STOP", "REMOVE", "READ"])
def test_nothing_that_csh_can_not_read(name: str) -> None:
    """A line has no end between quotes, and an exclamation mark none before it."""
    line = scripts.call(getattr(scripts, name), ODD)
    assert "\n" not in line
    assert re.findall(r"(?<!\\)!", line) == []
