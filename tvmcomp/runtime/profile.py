"""Time by kernel: an instrument of the virtual machine that runs where the kernels run.

The same two global functions serve this machine and a board that runs `tvmcomp devices serve`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from tvmcomp.errors import DeviceError
from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.loop_names import is_loop_function
from tvmcomp.runtime.example_inputs import example_inputs

if TYPE_CHECKING:
    from tvmcomp.runtime.session import Session

_START = "tvmcomp.profile.start"
_RESULT = "tvmcomp.profile.result"
_BUILTIN = "vm.builtin."
_BUILTINS_NAME = "(allocation and shapes)"

#: Kernel -> seconds of each call, since the instrument was made.
_seconds: dict[str, list[float]] = defaultdict(list)


class KernelTime(msgspec.Struct, frozen=True):
    """One kernel's part of an inference.

    Attributes:
        name: of the kernel in the library; allocation and shape checks are one entry.
        calls: in one inference.
        ms: of all of them in one inference, mean over the runs.
        share: of the time of all kernels.
    """

    name: str
    calls: int
    ms: float
    share: float


def profile(session: Session, runs: int = 10) -> list[KernelTime]:
    """Time every kernel, the slowest first. The instrument costs some µs a call.

    Raises:
        DeviceError: the device failed, or its server has no profiler.
    """
    result = session.machine.function(_RESULT)
    if result is None:
        raise DeviceError(
            "its RPC server can't profile",
            where=session.machine.name,
            hint="Start the server on the device with `tvmcomp devices serve`.",
        )
    session.set_inputs(example_inputs(session.artifact))
    session.time(2)
    is_gpu = session.artifact.metadata.target.family == "cuda"
    session.run_instrumented(_START, int(is_gpu), runs=runs)
    text = str(session.machine.call("profiling", result))
    seconds = msgspec.json.decode(text, type=dict[str, list[float]])
    total = sum(map(sum, seconds.values())) or 1.0
    return sorted(
        (
            KernelTime(name, len(calls) // runs, 1e3 * sum(calls) / runs, sum(calls) / total)
            for name, calls in seconds.items()
        ),
        key=lambda kernel: -kernel.ms,
    )


def _start(is_gpu: int) -> Any:
    """Forget what was measured; returns the instrument."""
    _seconds.clear()
    gpu = tvm_ffi.device("cuda", 0)
    wait = tvm_ffi.get_global_func("runtime.Device_StreamSync") if is_gpu else None
    began = 0.0

    def instrument(_function: Any, name: str, before: bool, *_: Any) -> int:
        nonlocal began
        if is_loop_function(name):  # its kernels are seen by themselves
            return 0
        if wait is not None:
            wait(gpu, 0)
        if before:
            began = time.perf_counter()
        else:
            kernel = _BUILTINS_NAME if name.startswith(_BUILTIN) else name
            _seconds[kernel].append(time.perf_counter() - began)
        return 0  # go on with the call

    return instrument


def _result() -> str:
    """JSON of what was measured: kernel -> seconds of each call."""
    return msgspec.json.encode(_seconds).decode()


tvm_ffi.register_global_func(_START, _start, override=True)
tvm_ffi.register_global_func(_RESULT, _result, override=True)
