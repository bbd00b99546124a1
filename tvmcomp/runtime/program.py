"""A compiled network that is loaded and ready: what a session asks of it, wherever it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tvmcomp.dtypes import numpy_dtype
from tvmcomp.errors import ArtifactError
from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.model import TensorSpec
from tvmcomp.runtime.threads import Threads

#: The function of the library that computes the network.
MAIN = "main"
_POOLED_ALLOCATOR = 2  # TVM's numbers
_CPU = 1


class Program(Protocol):
    """A network, loaded where it runs. Its session calls it from one thread at a time.

    Attributes:
        threads: what its kernels run on.
    """

    threads: Threads

    def bind(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Check ``inputs`` and make them those of what follows.

        Raises:
            InputError: a name, shape or dtype is not what the network takes. The inputs bound
                before stay bound.
        """

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Bind ``inputs`` and run once. The outputs are the caller's: no later run changes them."""

    def time(self, runs: int) -> list[float]:
        """Seconds of each of ``runs`` runs on the bound inputs, without copying any."""

    def run_instrumented(self, factory: str, *arguments: int, runs: int) -> None:
        """Run on the bound inputs, TVM calling an instrument before and after each kernel.

        Args:
            factory: name of a global function that makes the instrument, given ``arguments``.
            runs: how many times.
        """

    def close(self) -> None:
        """Let go of the library, the weights and the tensors."""


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


def time_evaluator(vm: Any, device: Any, function: str, *arguments: Any, runs: int) -> list[float]:
    """Seconds of each of ``runs`` calls of a function of ``vm``, measured where it runs."""
    begin = tvm_ffi.get_global_func("runtime.RPCTimeEvaluator")
    number, shortest_ms, most_zero, cooldown_ms, cooldown_every, flush_bytes = 1, 0, 100, 0, 1, 0
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


def check_outputs(tensors: Sequence[Any], specs: Sequence[TensorSpec]) -> None:
    """Raise ArtifactError where a network returned other tensors than its signature lists."""
    if len(tensors) != len(specs):
        raise ArtifactError(f"returned {len(tensors)} outputs, its signature lists {len(specs)}")
    for tensor, spec in zip(tensors, specs, strict=True):
        shape = tuple(tensor.shape)
        if shape != spec.shape or numpy_dtype(str(tensor.dtype)) != numpy_dtype(spec.dtype):
            raise ArtifactError(
                f"returned {spec.name!r} as {tensor.dtype}{list(shape)}, its signature says "
                f"{spec.dtype}{list(spec.shape)}"
            )
