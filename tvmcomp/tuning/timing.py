"""Time kernels as a network runs them: in turns, and with data that other kernels pushed aside."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.targets.description import TargetDescription
from tvmcomp.tuning.jobs import Measure
from tvmcomp.tuning.judge import unsteady
from tvmcomp.tuning.log.record import Argument
from tvmcomp.tvm_import import tvm

#: So many times as many rounds are taken while they disagree.
_SETS = 3
#: Kernels are measured in fewer rounds where these would take longer, but in as many at least as
#: show beyond chance that one is faster.
_LONG_SECONDS = 5.0
_LEAST_ROUNDS = 5
#: Copies of a kernel's tensors, at most.
_MOST_COPIES = 32

_PAGE, _ALIGNMENT = 4096, 64

#: Seconds of a call, the mean of so many.
Stopwatch = Callable[[int], float]


def time_in_turns(machine: Any, job: Measure) -> tuple[tuple[float, ...], ...]:
    """Seconds of a call of each library: one time a round, on all cores.

    Args:
        machine: where; a :class:`tvmcomp.runtime.machine.Machine`.
        job: what, and how long.
    """
    machine.set_threads(None)
    device = machine.tvm_device(job.target)
    kernels = [machine.load_library(Path(path).read_bytes()) for path in job.paths]
    if job.device is None:
        copies = _copies(job.arguments, job.target)
        sets = [_scattered_tensors(machine, job.arguments) for _ in range(copies)]
        watches = [_here(kernel, sets) for kernel in kernels]
    else:
        tensors = _random_tensors(machine, job.arguments, device)
        watches = [_there(machine, kernel, device, tensors) for kernel in kernels]
    # One call tells how many make a round, and how many rounds there is time for.
    once = [watch(1) for watch in watches]
    calls = [max(1, round(1e-3 * job.round_ms / seconds)) for seconds in once]
    least = min(job.rounds, _LEAST_ROUNDS)
    rounds = max(least, min(job.rounds, int(_LONG_SECONDS / sum(once))))
    times: list[tuple[float, ...]] = []
    for _ in range(_SETS):
        for _ in range(rounds):
            times.append(tuple(watch(number) for watch, number in zip(watches, calls, strict=True)))
        columns = tuple(zip(*times, strict=True))
        if not any(unsteady(column, columns[0]) for column in columns[1:]):
            break
    return columns


def _copies(arguments: Sequence[Argument], target: TargetDescription) -> int:
    """So many copies of the tensors that they don't stay in the cores' own caches.

    In a network a kernel's weights were last read an inference ago. With one copy the fastest
    kernel would be the one that its cached tensors suit best.
    """
    size = sum(_dtype(each).itemsize * math.prod(each.shape) for each in arguments)
    own_caches = target.cores * target.l2_kib << 10
    return max(2, min(_MOST_COPIES, 2 * own_caches // max(1, size)))


def _dtype(argument: Argument) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, argument.dtype, argument.dtype))


def _here(kernel: Any, sets: Sequence[Sequence[Any]]) -> Stopwatch:
    """On this machine, one set of tensors after the other."""
    main = kernel["main"]

    def watch(number: int) -> float:
        calls = list(islice(cycle(sets), number))
        main(*sets[-1])  # wakes the threads
        start = time.perf_counter()
        for tensors in calls:
            main(*tensors)
        return max((time.perf_counter() - start) / number, 1e-9)

    return watch


def _there(machine: Any, kernel: Any, device: Any, tensors: Sequence[Any]) -> Stopwatch:
    """On a board, which counts the time itself."""

    def watch(number: int) -> float:
        evaluator = partial(kernel.time_evaluator, number=number, repeat=1)
        timer = machine.call("timing", evaluator, "main", device)
        (seconds,) = machine.call("timing", timer, *tensors).results
        return max(float(seconds), 1e-9)

    return watch


def _scattered_tensors(machine: Any, arguments: Sequence[Argument]) -> list[Any]:
    """Random data at random places within a page of memory.

    A kernel can take three times as long where what it loads and what it stores lie a multiple of
    4 KiB apart. Each copy is another case, so that none decides.
    """
    fill = machine.function("tvm.contrib.random.random_fill_for_measure")
    tensors = []
    for argument in arguments:
        size = _dtype(argument).itemsize * math.prod(argument.shape)
        memory = np.empty(size + 2 * _PAGE, np.uint8)
        place = -memory.ctypes.data % _PAGE + random.randrange(0, _PAGE, _ALIGNMENT)
        # DLPack has no word for all of NumPy's types: the bytes are given the kernel's.
        array = memory[place : place + size]
        tensor = tvm_ffi.from_dlpack(array)
        view = tvm.runtime.Tensor._create_view(tensor, argument.shape, argument.dtype)
        fill(view)
        tensors.append(view)
    return tensors


def _random_tensors(machine: Any, arguments: Sequence[Argument], device: Any) -> list[Any]:
    fill = machine.function("tvm.contrib.random.random_fill_for_measure")
    tensors = []
    for argument in arguments:
        make = tvm.runtime.empty
        tensor = machine.call("allocating", make, argument.shape, argument.dtype, device)
        machine.call("filling the inputs", fill, tensor)
        tensors.append(tensor)
    return tensors
