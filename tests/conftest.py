"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from needed import missing

if TYPE_CHECKING:
    from board import Board, BoardRoot

BOARD_FIXTURES = {"board", "board_root"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need the emulated ARM board, so that `-m "not board"` leaves them out."""
    for item in items:
        if BOARD_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("board")


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
