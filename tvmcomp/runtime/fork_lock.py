"""Locks that a forked child finds open: a fork waits until no thread holds one.

What they guard is in order in the child too, as no call was in the middle of it: TVM's allocator,
for one, has locks of its own, which the child would find closed for ever.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import Protocol

#: A fork waits for running calls so long at most: the forking thread itself may be in one.
_LONGEST_WAIT_SECONDS = 10.0


class Guarded(Protocol):
    """What a lock guards; a child puts a new one in its place."""

    lock: threading.Lock


_all: weakref.WeakSet[Guarded] = weakref.WeakSet()
_registry_lock = threading.Lock()
_held: list[threading.Lock] = []


def open_in_children(guarded: Guarded) -> None:
    """Let every child that is forked from now on find the lock of ``guarded`` open."""
    with _registry_lock:
        _all.add(guarded)


def _before() -> None:
    _registry_lock.acquire()
    deadline = time.monotonic() + _LONGEST_WAIT_SECONDS
    for guarded in _all:
        if guarded.lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            _held.append(guarded.lock)


def _after_in_parent() -> None:
    while _held:
        _held.pop().release()
    _registry_lock.release()


def _after_in_child() -> None:
    global _registry_lock
    _held.clear()
    for guarded in _all:
        guarded.lock = threading.Lock()
    _registry_lock = threading.Lock()


os.register_at_fork(
    before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
)
