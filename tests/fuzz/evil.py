"""What must not be run or read: pickles that leave a mark, links out of a file."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

#: A file beside the input that only code of the input makes.
MARK = "fired"


class _Mark:
    def __init__(self, folder: Path) -> None:
        self.command = f"touch {folder / MARK}"

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def pickled(folder: Path) -> bytes:
    """A pickle that makes the mark where it is loaded."""
    return pickle.dumps(_Mark(folder))


def check(folder: Path) -> None:
    """Fail where something of the input was run."""
    assert not (folder / MARK).exists(), "code of the input was run"
