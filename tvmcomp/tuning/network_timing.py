"""Time kernels in the network that calls them: one run of it times all of them.

The network is the driver that ships, under the runtime that ships: with its threads, its workspace
and its neighbours of every kernel. But it calls kernels by variables (``link_replaceable``), and a
variant of it has other functions in some: nothing differs but the kernels themselves.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.runtime.example_inputs import example_inputs
from tvmcomp.runtime.machine import ThisMachine
from tvmcomp.runtime.native_program import native_programs
from tvmcomp.runtime.threads import choose_threads
from tvmcomp.tuning.jobs import WHOLE, MeasureNetwork
from tvmcomp.tuning.kernel_library import KernelLibrary

_LEAST_PASSES = 2
_LEAST_ROUNDS = 5
#: A measurement in more rounds than the least takes no longer, about.
_LONG_SECONDS = 20.0


def time_in_network(job: MeasureNetwork) -> tuple[dict[str, tuple[float, ...]], ...]:
    """Seconds a pass of each kernel: in the network as it is, and in each variant of it.

    Each variant has a turn in every round. A turn's time is the least of its passes: what else the
    machine does can only add to it.
    """
    network = _load(job.network, job.kernels)
    variants = [network.variant(replaced) for replaced in ({}, *job.variants)]
    once = [variant.turn(1)[WHOLE] for variant in variants]
    passes = round(1e-3 * job.round_ms / min(once))
    passes = max(_LEAST_PASSES if sum(once) < _LONG_SECONDS else 1, passes)
    # Fewer rounds where they would take long, but as many as can tell that a variant wins.
    rounds = max(_LEAST_ROUNDS, int(_LONG_SECONDS / (sum(once) * passes)))
    times: list[dict[str, list[float]]] = [defaultdict(list) for _ in variants]
    for _ in range(min(job.rounds, rounds)):
        for variant, columns in zip(variants, times, strict=True):
            for kernel, seconds in variant.turn(passes).items():
                columns[kernel].append(max(1e-9, seconds))
    return tuple({k: tuple(column) for k, column in columns.items()} for columns in times)


@lru_cache(maxsize=1)
def _load(network: str, kernels: str) -> _Network:
    return _Network(network, kernels)


class _Network:
    """The network, loaded once for all variants.

    Args:
        path: of the artifact.
        kernels: path of the library of its own kernels.
    """

    def __init__(self, path: str, kernels: str) -> None:
        artifact = Artifact.load(path)
        ThisMachine().check_target(artifact.metadata.target)
        (program,) = native_programs(artifact, choose_threads(None))
        program.bind(example_inputs(artifact))
        self.library = program.library
        self.names = self.library.kernels(0)
        #: Has the context of the run below, too.
        self._program = program
        self._run = program.profiler()
        name = (self.library.networks[0].name or b"").decode()
        functions = [f"{name}_k{index}" for index in range(len(self.names))]
        self._places = [self.library.variable(function) for function in functions]
        self._own = KernelLibrary(kernels, self.library)
        self._addresses = dict(zip(self.names, map(self._own.address, functions), strict=True))

    def variant(self, replaced: Mapping[str, tuple[str, str]]) -> _Variant:
        """The network with some kernels replaced, each by (library, function)."""
        paths = {path for path, _ in replaced.values()}
        libraries = {path: KernelLibrary(path, self.library) for path in paths}
        others = {
            kernel: libraries[path].address(function)
            for kernel, (path, function) in replaced.items()
        }
        return _Variant(self, {**self._addresses, **others}, list(libraries.values()))

    def call(self, addresses: Mapping[str, int]) -> None:
        """Let each kernel be what is at its address."""
        for place, kernel in zip(self._places, self.names, strict=True):
            place.value = addresses[kernel]

    def run(self) -> np.ndarray:
        """Run once: seconds of all calls of each kernel, and of the whole."""
        start = time.perf_counter()
        calls = self._run()
        whole = time.perf_counter() - start
        kernels = np.bincount(calls["kernel"], calls["seconds"], len(self.names))
        return np.append(kernels, whole)


class _Variant:
    """The network with other kernels; the libraries that have them stay as long."""

    def __init__(
        self, network: _Network, addresses: Mapping[str, int], libraries: list[KernelLibrary]
    ) -> None:
        self._network, self._addresses, self._libraries = network, addresses, libraries

    def turn(self, passes: int) -> dict[str, float]:
        """The least that each kernel takes in so many passes; the whole's is :data:`WHOLE`."""
        self._network.call(self._addresses)
        seconds = np.min([self._network.run() for _ in range(passes)], axis=0)
        return dict(zip((*self._network.names, WHOLE), seconds.tolist(), strict=True))
