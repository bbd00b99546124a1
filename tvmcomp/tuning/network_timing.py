"""Time kernels in the network that calls them: one pass over it times all of them.

A pass makes the calls that TVM's virtual machine made in an inference, with the same tensors. All
variants of a network share those, and nothing differs between them but the kernels themselves.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.loop_names import is_loop_function
from tvmcomp.runtime.example_inputs import example_inputs
from tvmcomp.runtime.machine import ThisMachine
from tvmcomp.runtime.tensors import InputSlot, in_place_or_copied
from tvmcomp.runtime.tvm_runtime import load_library_file
from tvmcomp.runtime.virtual_machine import MAIN, start_vm
from tvmcomp.tuning.jobs import WHOLE, MeasureNetwork

_LEAST_PASSES = 2
_LEAST_ROUNDS = 5
#: A measurement in more rounds than the least takes no longer, about.
_LONG_SECONDS = 20.0
#: What the virtual machine does itself, between the kernels.
_BUILTIN = "vm.builtin."
#: Calls of one kernel that are made again: the first trips of a loop stand for all of them.
_MOST_CALLS = 256


def time_in_network(job: MeasureNetwork) -> tuple[dict[str, tuple[float, ...]], ...]:
    """Seconds a pass of each kernel: in the network as it is, and in each variant of it.

    Each variant has a turn in every round. A turn's time is the least of its passes: what else the
    machine does can only add to it.
    """
    ThisMachine().set_threads(None)
    network = _load(job.network)
    variants = [network.variant(replaced) for replaced in ({}, *job.variants)]
    once = [variant()[WHOLE] for variant in variants]
    passes = round(1e-3 * job.round_ms / min(once))
    passes = max(_LEAST_PASSES if sum(once) < _LONG_SECONDS else 1, passes)
    # Fewer rounds where they would take long, but as many as can tell that a variant wins.
    rounds = max(_LEAST_ROUNDS, int(_LONG_SECONDS / (sum(once) * passes)))
    times: list[dict[str, list[float]]] = [defaultdict(list) for _ in variants]
    for _ in range(min(job.rounds, rounds)):
        for variant, columns in zip(variants, times, strict=True):
            turn = [variant() for _ in range(passes)]
            for kernel in turn[0]:
                columns[kernel].append(max(1e-9, min(seconds[kernel] for seconds in turn)))
    return tuple({k: tuple(column) for k, column in columns.items()} for columns in times)


@lru_cache(maxsize=1)
def _load(path: str) -> _Network:
    return _Network(Artifact.load(path))


class _Network:
    """The kernel calls of an inference."""

    def __init__(self, artifact: Artifact) -> None:
        machine = ThisMachine()
        machine.check_target(artifact.metadata.target)
        executable = machine.load_library(artifact.library)
        (library,) = executable.imports
        inputs = example_inputs(artifact)
        slots = [(InputSlot(s, aligned=True), s.name) for s in artifact.metadata.signature.inputs]
        tensors = [slot.tensor(inputs[name]) for slot, name in slots]
        calls: list[tuple[str, tuple[Any, ...]]] = []
        noted: Counter[str] = Counter()

        def note(_function: Any, name: str, before: bool, _result: Any, *arguments: Any) -> int:
            own = name.startswith(_BUILTIN) or is_loop_function(name)
            if before and not own and noted[name] < _MOST_CALLS:
                noted[name] += 1
                calls.append((name, arguments))
            return 0  # go on with the call

        vm = start_vm(executable, tvm_ffi.device("cpu", 0))
        vm["set_instrument"](note)
        vm[MAIN](*tensors, *map(in_place_or_copied, artifact.plain_constants))
        self._calls = calls
        self._functions = {
            name: library.get_function(name)
            if library.implements_function(name)
            else tvm_ffi.get_global_func(name)
            for name, _ in calls
        }

    def variant(self, replaced: Mapping[str, tuple[str, str]]) -> Callable[[], dict[str, float]]:
        """A pass with some kernels replaced, each by (library, function).

        It returns seconds: of all calls of each kernel, and of the whole under :data:`WHOLE`.
        """
        libraries = {path: load_library_file(path) for path, _ in replaced.values()}
        others = {k: libraries[path].get_function(name) for k, (path, name) in replaced.items()}
        functions = {**self._functions, **others}
        calls = [(name, functions[name], arguments) for name, arguments in self._calls]
        clock = time.perf_counter

        def run() -> dict[str, float]:
            seconds: dict[str, float] = defaultdict(float)
            start = clock()
            for name, function, arguments in calls:
                began = clock()
                function(*arguments)
                seconds[name] += clock() - began
            seconds[WHOLE] = clock() - start
            return seconds

        return run
