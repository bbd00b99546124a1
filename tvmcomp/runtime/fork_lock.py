"""Locks that a forked child finds open: a fork waits until no thread holds one."""

from __future__ import annotations

import os
import threading
import time
import weakref

#: A fork waits for running calls so long at most: the forking thread itself may be in one.
_LONGEST_WAIT_SECONDS = 10.0


class ForkLock:
    """A lock, used as a context manager. In a forked child it is open.

    What it guards is in order there too, as no call was in the middle of it: TVM's allocator, for
    one, has locks of its own, which the child would find closed for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        with _registry_lock:
            _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


_locks: weakref.WeakSet[ForkLock] = weakref.WeakSet()
_registry_lock = threading.Lock()
_held: list[threading.Lock] = []


def _before() -> None:
    _registry_lock.acquire()
    deadline = time.monotonic() + _LONGEST_WAIT_SECONDS
    for lock in _locks:
        if lock._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            _held.append(lock._lock)


def _after_in_parent() -> None:
    while _held:
        _held.pop().release()
    _registry_lock.release()


def _after_in_child() -> None:
    global _registry_lock
    _held.clear()
    for lock in _locks:
        lock._lock = threading.Lock()
    _registry_lock = threading.Lock()


os.register_at_fork(
    before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
)
