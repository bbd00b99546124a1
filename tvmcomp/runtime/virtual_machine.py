"""TVM's virtual machine: runs networks on a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.ffi_import import tvm_ffi

#: The function of the library that computes the network.
MAIN = "main"
_POOLED_ALLOCATOR = 2  # TVM's numbers
_CPU = 1


def start_vm(library: Any, device: Any) -> Any:
    """A virtual machine, TVM's module of it, for the executable in ``library``.

    Args:
        library: the loaded library.
        device: where the network's tensors are; shapes are computed on the CPU beside it.
    """
    vm = library["vm_load_executable"]()
    places = [(device.dlpack_device_type() % 128, device.index)]  # 128 counts RPC sessions
    if places[0][0] != _CPU:
        places.append((_CPU, 0))
    vm["vm_initialization"](*(n for place in places for n in (*place, _POOLED_ALLOCATOR)))
    return vm


def time_evaluator(
    vm: Any, device: Any, function: str, *arguments: Any, runs: int, flush_bytes: int = 0
) -> list[float]:
    """Seconds of each of ``runs`` calls of a function of ``vm``, measured where it runs; before
    each so many bytes are written, for the caches to hold nothing else.
    """
    begin = tvm_ffi.get_global_func("runtime.RPCTimeEvaluator")
    number, shortest_ms, most_zero, cooldown_ms, cooldown_every = 1, 0, 100, 0, 1
    measure = begin(
        vm,
        function,
        device.dlpack_device_type(),
        device.index,
        number,
        runs,
        shortest_ms,
        most_zero,
        cooldown_ms,
        cooldown_every,
        flush_bytes,
        "",
    )
    return [float(seconds) for seconds in np.frombuffer(measure(*arguments), "float64")]
