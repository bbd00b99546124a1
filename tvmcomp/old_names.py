"""Old names that work for one version more: each is noted, and then means the new one."""

from __future__ import annotations

import warnings
from typing import TypeVar

T = TypeVar("T")


def note_old_name(old: str, new: str, stacklevel: int = 2) -> None:
    """Say on standard error that ``old`` is called ``new`` now.

    Args:
        old, new: the names, as the caller writes them.
        stacklevel: of :func:`warnings.warn`, seen from the caller of this function.
    """
    warnings.warn(
        f"`{old}` is called `{new}` now; the old name works in this version and not in the next",
        FutureWarning,
        stacklevel=stacklevel + 1,
    )


def renamed(old: str, given: T | None, new: str, value: T) -> T:
    """The value of a public function's argument ``new``, which may be ``given`` by its old name.

    Args:
        old, new: the argument's names.
        given: what came by the old name, None for nothing: that is noted.
        value: what came by the new one.
    """
    if given is None:
        return value
    note_old_name(old, new, stacklevel=3)
    return given
