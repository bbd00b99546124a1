"""Time by kernel in TVM's virtual machine: an instrument that runs where the kernels run.

The same two global functions serve this machine and a board that runs `tvmcomp devices serve`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import msgspec

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.loop_names import is_loop_function

#: Names of the functions that make the instrument and that tell what it measured.
START = "tvmcomp.profile.start"
RESULT = "tvmcomp.profile.result"
_BUILTIN = "vm.builtin."
_BUILTINS_NAME = "(allocation and shapes)"

#: Kernel -> seconds of each call, since the instrument was made.
_seconds: dict[str, list[float]] = defaultdict(list)


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


tvm_ffi.register_global_func(START, _start, override=True)
tvm_ffi.register_global_func(RESULT, _result, override=True)
