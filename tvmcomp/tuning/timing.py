"""Time kernels as a network runs them: in turns, and with data that other kernels pushed aside."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import cycle, islice

import numpy as np

from tvmcomp.runtime.buffers import Places
from tvmcomp.runtime.remote.device import Device
from tvmcomp.targets.description import TargetDescription
from tvmcomp.tuning.compare import random_array
from tvmcomp.tuning.gpu_kernels import GpuKernel, gpu_machine
from tvmcomp.tuning.jobs import Measure
from tvmcomp.tuning.judge import unsteady
from tvmcomp.tuning.single_kernels import KernelHere, KernelThere, tensor_there

#: So many times as many rounds are taken while they disagree.
SETS = 3
#: Kernels are measured in fewer rounds where these would take longer, but in as many at least as
#: show beyond chance that one is faster.
_LONG_SECONDS = 5.0
_LEAST_ROUNDS = 5
#: Copies of a kernel's tensors, at most.
_MOST_COPIES = 32
#: The threads of the kernel before spin for a millisecond, and then sleep.
_REST_SECONDS = 0.002

_PAGE, _ALIGNMENT = 4096, 64

#: Seconds of a call, the mean of so many.
Stopwatch = Callable[[int], float]


def time_in_turns(job: Measure, board: Device | None) -> tuple[tuple[float, ...], ...]:
    """Seconds of a call of each kernel: one time a round, on all cores.

    Args:
        job: what, and how long.
        board: where; None for this machine.
    """
    with ExitStack() as stack:
        if job.target.family == "cuda":
            watches = _on_gpu(job, board)
        else:
            watches = _here(job, stack) if board is None else _there(job, board)
        # One call tells how many make a round, and how many rounds there is time for.
        once = [watch(1) for watch in watches]
        calls = [max(1, round(1e-3 * job.round_ms / seconds)) for seconds in once]
        least = min(job.rounds, _LEAST_ROUNDS)
        rounds = max(least, min(job.rounds, int(_LONG_SECONDS / sum(once))))
        times: list[tuple[float, ...]] = []
        for _ in range(SETS):
            for _ in range(rounds):
                turn = zip(watches, calls, strict=True)
                times.append(tuple(watch(number) for watch, number in turn))
            columns = tuple(zip(*times, strict=True))
            if not any(unsteady(column, columns[0]) for column in columns[1:]):
                break
        return columns


def _here(job: Measure, stack: ExitStack) -> list[Stopwatch]:
    """On this machine, one set of tensors after the other."""
    data = [random_array(argument, seed) for seed, argument in enumerate(job.arguments)]
    copies = copies_of(sum(array.nbytes for array in data), job.target)
    sets = [Places([_scattered(array) for array in data]) for _ in range(copies)]

    def stopwatch(kernel: KernelHere) -> Stopwatch:
        def watch(number: int) -> float:
            time.sleep(_REST_SECONDS)
            kernel.time(sets[-1])  # wakes the threads
            seconds = sum(kernel.time(tensors) for tensors in islice(cycle(sets), number))
            return max(seconds / number, 1e-9)

        return watch

    return [stopwatch(stack.enter_context(KernelHere(path))) for path in job.paths]


def _there(job: Measure, board: Device) -> list[Stopwatch]:
    """On a board, which counts the time itself."""
    threads = board.set_threads(None).count
    fill = board.function("tvm.contrib.random.random_fill_for_measure")
    assert fill is not None
    tensors = [tensor_there(board, job.target, each.shape, each.dtype) for each in job.arguments]
    for tensor in tensors:
        board.call("filling the inputs", fill, tensor)

    def stopwatch(kernel: KernelThere) -> Stopwatch:
        def watch(number: int) -> float:
            seconds = tensor_there(board, job.target, (1 + number,), "float64")
            time.sleep(_REST_SECONDS)
            kernel.time(tensors, 1 + number, seconds)  # the first wakes the threads
            found = board.call("reading the times", seconds.numpy)
            return max(float(np.mean(found[1:])), 1e-9)

        return watch

    return [stopwatch(KernelThere(path, board, threads)) for path in job.paths]


def _on_gpu(job: Measure, board: Device | None) -> list[Stopwatch]:
    """On the GPU of this machine or of a board."""
    machine = gpu_machine(board)
    kernels = [GpuKernel(path, machine, job.target) for path in job.paths]
    data = [random_array(argument, seed) for seed, argument in enumerate(job.arguments)]
    tensors = kernels[0].tensors(data)

    def stopwatch(kernel: GpuKernel) -> Stopwatch:
        def watch(number: int) -> float:
            kernel.run(tensors)  # the first loads the code
            return kernel.time(tensors, number)

        return watch

    return [stopwatch(kernel) for kernel in kernels]


def copies_of(size: int, target: TargetDescription) -> int:
    """So many copies of tensors of ``size`` bytes that they don't stay in the cores' own caches.

    In a network a kernel's weights were last read an inference ago. With one copy the fastest
    kernel would be the one that its cached tensors suit best.
    """
    own_caches = target.cores * target.l2_kib << 10
    return max(2, min(_MOST_COPIES, 2 * own_caches // max(1, size)))


def _scattered(array: np.ndarray) -> np.ndarray:
    """A copy at a random place within a page of memory.

    A kernel can take three times as long where what it loads and what it stores lie a multiple of
    4 KiB apart. Each copy is another case, so that none decides.
    """
    memory = np.empty(array.nbytes + 2 * _PAGE, np.uint8)
    place = -memory.ctypes.data % _PAGE + random.randrange(0, _PAGE, _ALIGNMENT)
    copy = memory[place : place + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
