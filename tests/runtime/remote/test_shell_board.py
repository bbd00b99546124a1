"""A board over ssh, against a real sshd: files there, programs, every way to fail, nothing left."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from small_disk import small_disk
from ssh_server import SshServer
from waiting import LIMIT, joined

from tvmcomp.errors import ConfigError, DeviceError, TvmcompError
from tvmcomp.runtime.remote.shell.board import Board, open_board

Open = Callable[..., Board]


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """Where sessions make their folders."""
    folder = tmp_path / "a board's"
    folder.mkdir()
    return folder


@pytest.fixture
def board_of(sshd: SshServer, there: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Connects; at the end nothing is left there."""
    monkeypatch.setenv("PATH", str(sshd.bin), prepend=":")
    opened: list[Board] = []

    def connect(timeout: float = 60.0, **options: str) -> Board:
        opened.append(open_board(sshd.address, timeout, **{"folder": str(there), **options}))
        return opened[-1]

    yield connect
    for board in opened:
        board.close()
    sshd.client()
    assert_nothing_left(there)


def assert_nothing_left(there: Path) -> None:
    """No file, and no process that worked in a folder of a session's."""
    deadline = time.monotonic() + LIMIT
    while left := [*there.iterdir(), *working_in(there)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def working_in(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd().startswith(str(folder)):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Path]:
    """A program that is a script."""

    def write(text: str) -> Path:
        path = tmp_path / "script"
        path.write_text(f"#!/bin/sh\n{text}\n")
        return path

    return write


def test_a_program_runs_there(board_of: Open, script: Callable[[str], Path], there: Path) -> None:
    given = bytes(range(256)) * 1000
    with board_of() as board:
        board.put("mine", script('pwd >&2; printf "%s," "$@"; cat; exit 3'))
        done = board.run("mine", ["one", "a b", "it's", "$HOME;*"], given=given)
        assert done.status == 3
        assert done.output == b"one,a b,it's,$HOME;*," + given
        (folder,) = there.iterdir()
        assert done.errors == str(folder)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert [file.name for file in folder.iterdir()] == ["mine"]
        board.remove("mine")
        assert not list(folder.iterdir())
        assert board.cores >= 1


def test_files_are_copied_whole(board_of: Open, tmp_path: Path, there: Path) -> None:
    data = bytes(range(256)) * 20_000
    (tmp_path / "large").write_bytes(data)
    with board_of() as board:
        board.put("large", tmp_path / "large")
        (folder,) = there.iterdir()
        assert (folder / "large").read_bytes() == data
        assert board.read(str(folder / "large"), most=len(data)) == data
        with pytest.raises(DeviceError, match="more than was asked"):
            board.read(str(folder / "large"), most=1000)
        with pytest.raises(DeviceError, match="No such file"):
            board.read("/nowhere/at/all")


def test_one_connection_serves_all(
    board_of: Open, sshd: SshServer, script: Callable[[str], Path]
) -> None:
    with board_of() as board:
        board.put("mine", script("true"))
        board.run("mine")
        assert len(sshd.sessions()) == 1


def test_a_runner(board_of: Open, script: Callable[[str], Path]) -> None:
    with board_of(runner="env -- GREETING='good day' sh -e") as board:
        board.put("mine", script('echo "$GREETING $1"'))
        assert board.run("mine", ["!"]).output == b"good day !\n"
    with pytest.raises(ConfigError, match="no command"):
        board_of(runner="'")


def test_a_login_that_prints(
    board_of: Open, sshd: SshServer, script: Callable[[str], Path]
) -> None:
    sshd.client(key="noisy_key")
    with board_of() as board:
        board.put("mine", script("echo mine"))
        assert board.run("mine").output == b"mine\n"
        assert board.read("/proc/sys/kernel/osrelease").decode().split() == [os.uname().release]


def fails(board_of: Open, **options: str) -> str:
    with pytest.raises(DeviceError) as raised:
        board_of(**options)
    return str(raised.value)


def test_another_host_key(board_of: Open, sshd: SshServer) -> None:
    sshd.client(known="changed")
    assert "not the one that is known" in fails(board_of)
    sshd.client(known="nothing")
    assert "key is not known" in fails(board_of)


def test_a_login_that_is_refused(board_of: Open, sshd: SshServer) -> None:
    sshd.client(key="unknown_key")
    assert "lets nobody in" in fails(board_of)
    sshd.client()
    with pytest.raises(DeviceError, match="lets nobody in as no-such-user"):
        open_board(f"ssh://no-such-user@127.0.0.1:{sshd.port}")


def test_no_server(board_of: Open) -> None:
    with pytest.raises(DeviceError, match=r"does not answer.*refused"):
        open_board("ssh://127.0.0.1:1")


def test_no_place_for_a_folder(board_of: Open) -> None:
    said = fails(board_of, folder="/proc/nothing")
    assert "can't make a folder in /proc/nothing" in said
    assert "--remote-dir" in said
    with pytest.raises(ConfigError, match="no absolute path"):
        board_of(folder="here")


def test_a_full_disk(board_of: Open, tmp_path: Path, there: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(1 << 20))
    with small_disk(there, 256), board_of() as board:
        with pytest.raises(DeviceError, match=r"has no room.*No space left") as raised:
            board.put("large", tmp_path / "large")
        assert "--remote-dir" in str(raised.value)
        board.close()
        assert_nothing_left(there)


def test_a_program_that_hangs(board_of: Open, script: Callable[[str], Path], there: Path) -> None:
    with board_of() as board:
        board.put("mine", script("sleep 1000"))
        with pytest.raises(DeviceError, match=r"did not finish running mine in 0\.5 s"):
            board.run("mine", timeout=0.5)
        deadline = time.monotonic() + LIMIT
        while working_in(there):
            assert time.monotonic() < deadline


def test_a_session_that_takes_too_long(board_of: Open, script: Callable[[str], Path]) -> None:
    with board_of(timeout=60.0) as board:
        board.put("mine", script("trap '' HUP INT TERM PIPE; cat; sleep 1000"))
        board.deadline = time.monotonic() + 1
        with pytest.raises(DeviceError, match="in the 60 s of a session") as raised:
            board.run("mine")
        assert "--timeout" in str(raised.value)


def test_a_program_that_floods(board_of: Open, script: Callable[[str], Path]) -> None:
    with board_of() as board:
        board.put("mine", script("yes"))
        with pytest.raises(DeviceError, match="more than was asked"):
            board.run("mine", most=1000)


@pytest.mark.parametrize("text", ["cat; sleep 1000", "trap '' HUP INT TERM PIPE; sleep 1000"])
def test_a_cut_connection(
    board_of: Open, sshd: SshServer, script: Callable[[str], Path], text: str
) -> None:
    """What runs there is ended, also what does not read, and does not want to end."""
    board = board_of()
    board.put("mine", script(f"echo begun\n{text}"))
    running = board.start("mine")
    assert running.line("beginning") == "begun"
    sshd.cut()
    with pytest.raises(DeviceError, match="the connection broke while waiting"):
        running.line("waiting")
    with pytest.raises(DeviceError):
        board.run("mine")


def test_a_cut_while_copying(board_of: Open, sshd: SshServer, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 30)
    board = board_of()
    cutter = threading.Timer(0.3, sshd.cut)
    cutter.start()
    with pytest.raises(DeviceError, match="the connection broke while copying"):
        board.put("large", tmp_path / "large")
    joined(cutter)


def test_a_client_that_is_killed(board_of: Open, there: Path) -> None:
    board_of()
    assert len(list(there.iterdir())) == 1
    for process in psutil.Process().children():
        if process.name() == "ssh":
            process.kill()
    assert_nothing_left(there)


ENDS = [
    ("kill -ILL $$", "killed by SIGILL while running"),
    ("kill -KILL $$", "killed by SIGKILL"),
    ("echo 'error: this CPU lacks instructions: dotprod' >&2; exit 2", "lacks instructions: dotp"),
    ("echo 'net: Exec format error' >&2; exit 126", "a machine of another kind"),
    ("exit 2", "it gave no reason"),
]


def test_programs_that_end_before_they_answer(
    board_of: Open, script: Callable[[str], Path]
) -> None:
    with board_of() as board:
        for text, said in ENDS:
            board.put("mine", script(text))
            with pytest.raises(DeviceError, match=said):
                board.start("mine").line("running")


def test_a_runner_that_is_not_there(board_of: Open, script: Callable[[str], Path]) -> None:
    with board_of(runner="no-such-emulator") as board:
        board.put("mine", script("true"))
        with pytest.raises(DeviceError, match=r"no such program.*no-such-emulator"):
            board.start("mine").line("running")


def test_no_ssh_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for address, package in (("ssh://host", "openssh-client"), ("adb://x", "adb")):
        with pytest.raises(TvmcompError, match="not installed") as raised:
            open_board(address)
        assert package in str(raised.value)


@pytest.mark.parametrize(
    "address",
    [
        "ssh://", "ssh://-oProxyCommand=x", "ssh://a b", "ssh://host:0", "ssh://host:99999",
        "ssh://u@v@host", "ssh://$(x)@host", "ssh://host/path", "ssh://user:word@host", "adb://",
        "adb://-s", "adb://a;b", "ssh://`x`", "ssh://host%h",
    ],
)  # fmt: skip
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ConfigError, match="neither ssh://"):
        open_board(address)
