"""Where an artifact runs. This machine is here; boards are in ``remote/``.

TVM is imported when something needs it: networks on a GPU, and the tuner.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.errors import ArtifactError
from tvmcomp.runtime.amx_permission import allow_amx
from tvmcomp.runtime.by_shape import by_shape
from tvmcomp.runtime.native_program import native_programs
from tvmcomp.runtime.program import Program
from tvmcomp.runtime.threads import Pin, Threads, choose_threads
from tvmcomp.targets import runs_here
from tvmcomp.targets.description import TargetDescription

if TYPE_CHECKING:
    from tvm_ffi import Device as TvmDevice


#: What this machine is called in messages and results.
HERE = "this machine"


class Machine(Protocol):
    """What a session needs of the place it runs at.

    Attributes:
        name: what to call it in a message.
    """

    name: str

    def load(self, artifact: Artifact, threads: int | None, pin: Pin) -> Program:
        """Load an artifact: see :func:`tvmcomp.runtime.session.load`."""

    def peak_memory(self) -> int | None:
        """Largest resident memory of the process so far, in bytes; None: unknown."""


class TvmMachine(Machine, Protocol):
    """A place where TVM's runtime is: what its programs need of it, and the tuner."""

    def load_library(self, library: bytes) -> Any:
        """Load a shared library; no file of it is left behind."""

    def tvm_device(self, target: TargetDescription) -> TvmDevice:
        """The device that holds the tensors of code for ``target``."""

    def set_threads(self, threads: int | None, pin: Pin = False) -> Threads:
        """Run kernels on ``threads`` threads (None: one a core); returns what that is."""

    def function(self, name: str) -> Callable[..., Any] | None:
        """A function of TVM's or of ours that is registered there, or None."""

    def call(self, doing: str, function: Callable[..., Any], *args: Any) -> Any:
        """Call something that may run there; ``doing`` names it in an error."""


class ThisMachine:
    """The machine, and the process, that this code runs in."""

    name = HERE

    def load(self, artifact: Artifact, threads: int | None = None, pin: Pin = False) -> Program:
        """Check that it was built for this machine, then load it.

        Raises:
            ArtifactError: it was not; says which CPU features are missing.
            DeviceError: the kernel keeps back what the code needs.
            ConfigError: there are no such threads.
            ToolError: it is for a GPU, and what runs those is not installed.
        """
        target = artifact.metadata.target
        self.check_target(target)
        chosen = choose_threads(threads, pin)
        if target.family != "cuda":
            return by_shape(artifact, native_programs(artifact, chosen))
        from tvmcomp.runtime.copying_program import CopyingProgram
        from tvmcomp.runtime.gpu_runtime import enable_gpu
        from tvmcomp.runtime.tvm_threads import use_threads

        enable_gpu()
        library = self.load_library(artifact.library)
        return CopyingProgram(artifact, library, self, chosen, use_threads)

    def load_library(self, library: bytes) -> Any:
        """Load a shared library into this process."""
        from tvmcomp.runtime.tvm_runtime import load_library

        return load_library(library)

    def tvm_device(self, target: TargetDescription) -> TvmDevice:
        """The CPU or the first GPU."""
        from tvmcomp.ffi_import import tvm_ffi

        return tvm_ffi.device("cuda" if target.family == "cuda" else "cpu", 0)

    def set_threads(self, threads: int | None, pin: Pin = False) -> Threads:
        """Set the pool of the calling thread."""
        from tvmcomp.runtime.tvm_threads import use_threads

        chosen = choose_threads(threads, pin)
        use_threads(chosen)
        return chosen

    def function(self, name: str) -> Callable[..., Any] | None:
        """A registered function."""
        from tvmcomp.ffi_import import tvm_ffi

        found: Callable[..., Any] | None = tvm_ffi.get_global_func(name, allow_missing=True)
        return found

    def call(self, doing: str, function: Callable[..., Any], *args: Any) -> Any:
        """Call it: nothing stands between."""
        return function(*args)

    def peak_memory(self) -> int:
        """Of this process, in bytes."""
        return peak_memory()

    def check_target(self, target: TargetDescription) -> None:
        """Raise ArtifactError, with the architecture or the CPU features that are missing."""
        reason = runs_here(target)
        if reason is not None:
            raise ArtifactError(
                f"was built for {target.name} ({target.triple}) and can't run on this machine "
                f"({platform.machine()}): {reason}",
                hint="Build it with --target native, or run it where it belongs with --device.",
            )
        allow_amx(target)


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes, mapped files included."""
    # Not getrusage's, which begins with what the parent had when it started this process.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
