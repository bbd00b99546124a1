"""The memories of a GPU whose kernel runs on the CPU, and what is forbidden in them.

Every access is checked: it lies in its array; shared memory is only read after what writes it is
complete, and two threads of a block touch the same byte, one of them writing, only with a barrier
between them; nothing is read that was never written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

#: An array with a value for each thread, or one for all.
Lanes = Any
_MANY = -2


class Race(AssertionError):
    """Two threads touch a byte with no barrier between them."""


class OutOfBounds(AssertionError):
    """An access outside of its array."""


class Unwritten(AssertionError):
    """A read of what was not written."""


@dataclass
class Memory:
    """Bytes: one row of them for each thread, each block, or for all.

    Attributes:
        name: of the array.
        data: ``[rows, bytes]``.
        row: of each thread.
        thread: its number in its block.
        shared: of the block's threads: races are looked for.
        written: whether each byte was; None where all were from the start.
    """

    name: str
    data: np.ndarray
    row: np.ndarray
    thread: np.ndarray
    shared: bool = False
    written: np.ndarray | None = None
    phase: int = 0
    write_phase: np.ndarray = field(init=False)
    writer: np.ndarray = field(init=False)
    read_phase: np.ndarray = field(init=False)
    reader: np.ndarray = field(init=False)
    pending: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        if self.shared:
            shape = self.data.shape
            self.write_phase, self.read_phase = (np.full(shape, -1, np.int32) for _ in range(2))
            self.writer, self.reader = (np.full(shape, -1, np.int32) for _ in range(2))
            self.pending = np.zeros(shape, bool)

    def places(
        self, offsets: Lanes, nbytes: int, active: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row, byte and thread of the accesses of ``nbytes`` at ``offsets [threads]``."""
        lanes = np.flatnonzero(active)
        first = np.broadcast_to(offsets, active.shape)[lanes].astype(np.int64)
        size = self.data.shape[1]
        if lanes.size and (first.min() < 0 or first.max() + nbytes > size):
            bad = first[(first < 0) | (first + nbytes > size)][0]
            raise OutOfBounds(f"{self.name}: byte {bad} of {size}")
        return self.row[lanes][:, None], first[:, None] + np.arange(nbytes), lanes

    def load(self, offsets: Lanes, nbytes: int, active: np.ndarray) -> np.ndarray:
        """``[threads, nbytes]``; zeros for those that are not active."""
        rows, at, lanes = self.places(offsets, nbytes, active)
        if self.written is not None and not self.written[rows, at].all():
            raise Unwritten(self.name)
        if self.shared:
            self._see_read(rows, at, self.thread[lanes][:, None])
        found = np.zeros((active.size, nbytes), np.uint8)
        found[lanes] = self.data[rows, at]
        return found

    def store(self, offsets: Lanes, values: np.ndarray, active: np.ndarray) -> None:
        """Write ``values [threads, nbytes]``."""
        rows, at, lanes = self.places(offsets, values.shape[1], active)
        if self.shared:
            self._see_write(rows, at, self.thread[lanes][:, None])
        self._put(rows, at, np.broadcast_to(values, (active.size, values.shape[1]))[lanes])

    def begin_copy(self, offsets: Lanes, values: np.ndarray, active: np.ndarray) -> Any:
        """Begin to write ``values``; what :meth:`end_copy` takes to complete it."""
        rows, at, lanes = self.places(offsets, values.shape[1], active)
        threads = self.thread[lanes][:, None]
        self._see_write(rows, at, threads)
        self.pending[rows, at] = True
        return rows, at, threads, values[lanes]

    def end_copy(self, begun: Any) -> None:
        """The bytes are there, for the thread that copied them; others need a barrier."""
        rows, at, threads, values = begun
        self.pending[rows, at] = False
        self.write_phase[rows, at] = self.phase
        self.writer[rows, at] = threads
        self._put(rows, at, values)

    def barrier(self) -> None:
        """All threads of a block have waited for each other."""
        self.phase += 1

    def _put(self, rows: np.ndarray, at: np.ndarray, values: np.ndarray) -> None:
        self.data[rows, at] = values
        if self.written is not None:
            self.written[rows, at] = True

    def _see_read(self, rows: np.ndarray, at: np.ndarray, threads: np.ndarray) -> None:
        if self.pending[rows, at].any():
            raise Race(f"{self.name}: read while a copy into it is under way")
        same = self.write_phase[rows, at] == self.phase
        if (same & (self.writer[rows, at] != threads)).any():
            raise Race(f"{self.name}: read what another thread wrote with no barrier between")
        earlier = self.read_phase[rows, at] == self.phase
        other = earlier & (self.reader[rows, at] != threads)
        self.reader[rows, at] = np.where(other, _MANY, threads)
        # Of several readers in this one access the last is kept; mark what more than one reads.
        where, count = np.unique((rows * self.data.shape[1] + at).ravel(), return_counts=True)
        several = where[count > 1]
        self.reader[several // self.data.shape[1], several % self.data.shape[1]] = _MANY
        self.read_phase[rows, at] = self.phase

    def _see_write(self, rows: np.ndarray, at: np.ndarray, threads: np.ndarray) -> None:
        if self.pending[rows, at].any():
            raise Race(f"{self.name}: written while a copy into it is under way")
        flat = (rows * self.data.shape[1] + at).ravel()
        if np.unique(flat).size != flat.size:
            raise Race(f"{self.name}: two threads write the same byte")
        wrote = (self.write_phase[rows, at] == self.phase) & (self.writer[rows, at] != threads)
        read = (self.read_phase[rows, at] == self.phase) & (self.reader[rows, at] != threads)
        if wrote.any() or read.any():
            raise Race(f"{self.name}: written with no barrier after another thread's access")
        self.write_phase[rows, at] = self.phase
        self.writer[rows, at] = threads
