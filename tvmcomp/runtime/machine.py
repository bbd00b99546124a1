"""Where an artifact runs. This machine is here; a board over RPC is in device.py."""

from __future__ import annotations

import platform
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tvmcomp.errors import ArtifactError
from tvmcomp.runtime.threads import check_threads, use_threads
from tvmcomp.targets.description import TargetDescription
from tvmcomp.tvm_import import tvm

if TYPE_CHECKING:
    from tvm_ffi import Device as TvmDevice


class Machine(Protocol):
    """What a session needs of the place it runs at.

    Attributes:
        name: what to call it in a message.
        copies_arguments: a tensor bound to a function is copied there and then, so that a later
            change of it is not seen.
    """

    name: str
    copies_arguments: bool

    def check_target(self, target: TargetDescription) -> None:
        """Raise ArtifactError if code for ``target`` can't run here."""

    def load_library(self, library: bytes) -> Any:
        """Load a shared library; no file of it is left behind."""

    def tvm_device(self, target: TargetDescription) -> TvmDevice:
        """The device that holds the tensors."""

    def tensor(self, array: np.ndarray, device: TvmDevice) -> Any:
        """``array`` as a tensor on ``device``, without a copy where that can be."""

    def set_threads(self, threads: int | None) -> int:
        """Run kernels on ``threads`` threads (None: one a core); returns how many there are."""

    def function(self, name: str) -> Callable[..., Any] | None:
        """A function of TVM's or of ours that is registered there, or None."""

    def call(self, doing: str, function: Callable[..., Any], *args: Any) -> Any:
        """Call something that may run there; ``doing`` names it in an error."""

    def peak_memory(self) -> int | None:
        """Largest resident memory of the process so far, in bytes; None: unknown."""


class ThisMachine:
    """The machine, and the process, that this code runs in."""

    name = "this machine"
    copies_arguments = False

    def check_target(self, target: TargetDescription) -> None:
        """Raise ArtifactError, with the architecture or the CPU features that are missing."""
        from tvmcomp.targets import runs_here

        reason = runs_here(target)
        if reason is not None:
            raise ArtifactError(
                f"was built for {target.name} ({target.triple}) and can't run on this machine "
                f"({platform.machine()}): {reason}",
                hint="Build it with --target native, or run it where it belongs with --device.",
            )

    def load_library(self, library: bytes) -> Any:
        """Load from a private folder that is removed at once."""
        with tempfile.TemporaryDirectory(prefix="tvmcomp-") as folder:
            path = Path(folder) / "lib.so"
            path.write_bytes(library)
            return tvm.runtime.load_module(str(path))

    def tvm_device(self, target: TargetDescription) -> TvmDevice:
        """The CPU or the first GPU."""
        return tvm.cuda(0) if target.family == "cuda" else tvm.cpu(0)

    def tensor(self, array: np.ndarray, device: TvmDevice) -> Any:
        """Share the array's memory where TVM's alignment allows."""
        shared = _as_tensor_in_place(array)
        if shared is None:
            return tvm.runtime.tensor(array, device)
        return shared if device == tvm.cpu(0) else shared.copyto(device)

    def set_threads(self, threads: int | None) -> int:
        """Set the pool of the calling thread."""
        count = check_threads(threads)
        use_threads(count)
        return count

    def function(self, name: str) -> Callable[..., Any] | None:
        """A registered function."""
        found: Callable[..., Any] | None = tvm.get_global_func(name, allow_missing=True)
        return found

    def call(self, doing: str, function: Callable[..., Any], *args: Any) -> Any:
        """Call it: nothing stands between."""
        return function(*args)

    def peak_memory(self) -> int:
        """Of this process, in bytes."""
        return peak_memory()


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def _as_tensor_in_place(array: np.ndarray) -> Any | None:
    """A tensor over the array's own memory, or None where that can't be."""
    if array.ctypes.data % 64 or not array.flags.c_contiguous or not array.flags.writeable:
        return None
    if not array.size or array.dtype.isbuiltin != 1:
        return None  # DLPack through numpy knows numpy's own types only
    return tvm.runtime.from_dlpack(array)
