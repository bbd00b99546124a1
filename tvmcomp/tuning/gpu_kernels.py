"""Libraries of one GPU kernel each: run and timed here, or on a board over TVM's RPC."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tvmcomp.codegen.cuda.single_kernel import FUNCTION
from tvmcomp.runtime.gpu_runtime import enable_gpu
from tvmcomp.runtime.machine import ThisMachine, TvmMachine
from tvmcomp.runtime.virtual_machine import time_evaluator
from tvmcomp.targets.description import TargetDescription
from tvmcomp.tvm_import import tvm

#: Data of so many times the L2 cache is written before each call: what a kernel reads was last read
#: an inference ago.
_FLUSHED = 2


def gpu_machine(board: TvmMachine | None) -> TvmMachine:
    """The board, or this machine with its GPU.

    Raises:
        ToolError: TVM's CUDA runtime can't be loaded here.
    """
    if board is not None:
        return board
    enable_gpu()
    return ThisMachine()


class GpuKernel:
    """One, loaded.

    Args:
        path: of the library.
        machine: from :func:`gpu_machine`.
        target: what it was compiled for.
    """

    def __init__(self, path: str, machine: TvmMachine, target: TargetDescription) -> None:
        self._machine = machine
        self._device = machine.tvm_device(target)
        self._flushed = _FLUSHED * target.extra.get("l2_cache_size_bytes", 0)
        self._library = machine.load_library(Path(path).read_bytes())

    def tensors(self, arrays: Sequence[np.ndarray]) -> list[Any]:
        """Copies on the GPU."""
        make = partial(tvm.runtime.tensor, device=self._device)
        return [self._machine.call("sending data", make, array) for array in arrays]

    def run(self, tensors: Sequence[Any]) -> None:
        """Run once."""
        self._machine.call("running", self._library[FUNCTION], *tensors)

    def time(self, tensors: Sequence[Any], runs: int) -> float:
        """Mean seconds of so many calls, by the GPU's own clock."""
        measure = partial(time_evaluator, runs=runs, flush_bytes=self._flushed)
        seconds = self._machine.call(
            "timing", measure, self._library, self._device, FUNCTION, *tensors
        )
        return max(float(np.mean(seconds)), 1e-9)


def gpu_results(
    path: str, arrays: Sequence[np.ndarray], machine: TvmMachine, target: TargetDescription
) -> list[np.ndarray]:
    """What a kernel leaves in its tensors."""
    kernel = GpuKernel(path, machine, target)
    tensors = kernel.tensors(arrays)
    kernel.run(tensors)
    return [machine.call("reading", tensor.numpy) for tensor in tensors]
