"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

import pytest
from needed import missing

if TYPE_CHECKING:
    from board import Board, BoardRoot

# As tvmcomp.compress does; a test may import torch before it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

#: Seconds that a test may take, and a slow one: far more than they do on a busy machine. The first
#: test on a board prepares it.
LIMIT, SLOW_LIMIT = 3600, 4 * 3600

BOARD_FIXTURES = {"board", "board_root"}


@pytest.fixture(scope="session", autouse=True)
def formats_as_asked() -> Iterator[None]:
    """Builds keep the number formats that are asked for, unless a test says otherwise: what it
    expects must not depend on which kernels this machine is fast at, nor be measured each time.
    """
    from tvmcomp import arguments

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arguments, "DEFAULT_FORMATS", "asked")
        yield


@pytest.fixture(scope="session", autouse=True)
def own_data_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's records and searches have no part in tests, and those of tests none in theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data-home")))
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need the emulated ARM board, so that `-m "not board"` leaves them out."""
    for item in items:
        if BOARD_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("board")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Every wait has a limit: a test that hangs fails, and shows where it waits."""
    limit = SLOW_LIMIT if item.get_closest_marker("slow") else LIMIT

    def over(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"the test has not ended in {limit} s", pytrace=True)

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(limit)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def board_root() -> BoardRoot:
    """What emulated boards run, prepared at the first use. Ask for it to start your own boards."""
    from board import BoardError, prepare

    try:
        return prepare()
    except BoardError as error:
        missing(str(error))


@pytest.fixture(scope="session")
def board(board_root: BoardRoot) -> Iterator[Board]:
    """One emulated ARM board with every feature, shared by all tests: don't kill or freeze it."""
    from board import Board

    with Board() as running:
        yield running
