"""What a board tells of itself: the functions that `tvmcomp devices serve` offers to a client."""

from __future__ import annotations

import os
import platform

import msgspec

from tvmcomp.errors import DeviceError, TargetError, ToolError
from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.runtime import vm_profile  # noqa: F401  registers the profiler
from tvmcomp.runtime.gpu_runtime import enable_gpu
from tvmcomp.runtime.machine import peak_memory
from tvmcomp.runtime.threads import Threads, default_threads
from tvmcomp.runtime.tvm_threads import use_threads
from tvmcomp.targets.description import TargetDescription
from tvmcomp.targets.fingerprint import local_fingerprint
from tvmcomp.targets.gpu_fingerprint import gpu_fingerprint

#: Names in TVM's registry of global functions, which a client can call over RPC.
ARCHITECTURE = "tvmcomp.board.architecture"
REFUSAL = "tvmcomp.board.refusal"
PEAK_MEMORY = "tvmcomp.board.peak_memory"
SET_THREADS = "tvmcomp.board.set_threads"
FINGERPRINT = "tvmcomp.board.fingerprint"
GPU_FINGERPRINT = "tvmcomp.board.gpu_fingerprint"

#: What the process could use when it began.
_CPUS = os.sched_getaffinity(0)


def _architecture() -> str:
    """``aarch64``, ``x86_64``, ``armv7l``, …"""
    return platform.machine()


def _refusal(target_json: str) -> str:
    """Why code for a target (JSON of its description) can't run on this board; "" if it can."""
    from tvmcomp.targets import runs_here

    target = msgspec.json.decode(str(target_json), type=TargetDescription)
    reason = runs_here(target)
    return reason or (_gpu_refusal() if target.family == "cuda" else "")


def _gpu_refusal() -> str:
    """Why this board's GPU can't be used, with what to do there; "" if it can."""
    try:
        enable_gpu()
    except ToolError as error:
        return f"{error.what}. {error.hint or ''}".rstrip()
    return ""


def _peak_memory() -> int:
    """Largest resident memory of the process of this session, in bytes."""
    return peak_memory()


def _fingerprint() -> str:
    """What measured times depend on besides the code, as JSON."""
    return msgspec.json.encode(local_fingerprint()).decode()


def _gpu_fingerprint() -> str:
    """The same of the board's first GPU. Raises DeviceError where there is none to use."""
    reason = _gpu_refusal()
    try:
        found = msgspec.json.encode(gpu_fingerprint()).decode()
    except TargetError as error:
        raise DeviceError(error.what) from None  # its hint is for who builds
    if reason:
        raise DeviceError(reason)
    return found


def _set_threads(threads: int, *cores: int) -> int:
    """Run kernels on ``threads`` threads, 0 for one a core; returns how many that is.

    ``cores`` has one for each thread, or none where the system chooses. The session's process is
    its client's alone, so the thread that calls the kernels stays bound.
    """
    chosen = Threads(threads or default_threads(), tuple(cores) or None)
    os.sched_setaffinity(0, _CPUS)  # an earlier call may have bound this thread
    use_threads(chosen)
    os.sched_setaffinity(0, cores[:1] or _CPUS)
    return chosen.count


_gpu_refusal()  # where there is a GPU, a client finds TVM's runtime for it
for _name, _function in (
    (ARCHITECTURE, _architecture),
    (REFUSAL, _refusal),
    (PEAK_MEMORY, _peak_memory),
    (SET_THREADS, _set_threads),
    (FINGERPRINT, _fingerprint),
    (GPU_FINGERPRINT, _gpu_fingerprint),
):
    tvm_ffi.register_global_func(_name, _function, override=True)
