"""Built networks of one kernel, ready to run: here, or on a board over TVM's RPC.

Each has a context of its own, with as many threads as a session has by default.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tvmcomp.runtime.buffers import Places
from tvmcomp.runtime.native_library import NativeLibrary, Options
from tvmcomp.runtime.remote.device import Device
from tvmcomp.runtime.threads import default_threads
from tvmcomp.targets.description import TargetDescription
from tvmcomp.tvm_import import tvm

#: To the network its tensors are all inputs.
_NONE = Places([])


class KernelHere:
    """One in this process; a context manager, as its threads have an end.

    Args:
        path: of the library.
    """

    def __init__(self, path: str) -> None:
        self._library = NativeLibrary(Path(path).read_bytes())
        self._context = self._library.create(0, Options(threads=default_threads()))

    def __enter__(self) -> KernelHere:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._library.destroy(self._context)

    def time(self, tensors: Places) -> float:
        """Run once; returns seconds."""
        (seconds,) = self._library.time(self._context, tensors, _NONE, 1)
        return seconds


class KernelThere:
    """One on a board, for the time of its session.

    Args:
        path: of the library.
        board: the board.
        threads: that the kernel runs on.
    """

    def __init__(self, path: str, board: Device, threads: int) -> None:
        self._board = board
        self._library = board.load_library(Path(path).read_bytes())
        self._context = int(self._call("opening the kernel", "open", 0, threads, 0))

    def run(self, tensors: Sequence[Any]) -> None:
        """Run once on tensors there."""
        self._call("running", "run", self._context, *tensors)

    def time(self, tensors: Sequence[Any], runs: int, seconds: Any) -> None:
        """Run so often; the seconds of each run go to a tensor there."""
        self._call("timing", "time", self._context, runs, seconds, *tensors)

    def _call(self, doing: str, name: str, *arguments: Any) -> Any:
        function = self._board.call("loading the library", operator.getitem, self._library, name)
        return self._board.call(doing, function, *arguments)


def tensor_there(board: Device, target: TargetDescription, shape: Sequence[int], dtype: str) -> Any:
    """A new tensor on a board."""
    device = board.tvm_device(target)
    return board.call("allocating", tvm.runtime.empty, shape, dtype, device)
