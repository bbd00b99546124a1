"""Run an artifact: check the inputs, run, name the outputs. Here or on a device."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from tvmcomp.artifact import Artifact
from tvmcomp.dtypes import numpy_dtype
from tvmcomp.errors import ArtifactError, InputError
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.runtime.machine import Machine, ThisMachine
from tvmcomp.tvm_import import tvm

if TYPE_CHECKING:
    from tvmcomp.runtime.bench import Benchmark
    from tvmcomp.runtime.profile import KernelTime

_MAIN = "main"


def load(artifact: str | Path | Artifact, threads: int | None = None) -> Session:
    """Make an artifact ready to run on this machine.

    Args:
        artifact: a ``.tvmc`` file, or what ``tvmcomp.build`` returned.
        threads: how many to run on; None is one a physical core.

    Raises:
        ArtifactError: the file can't be trusted, or was built for another machine.
        ConfigError: there are not so many threads.
    """
    return load_on(ThisMachine(), artifact, threads)


def load_on(
    machine: Machine, artifact: str | Path | Artifact, threads: int | None = None
) -> Session:
    """Like :func:`load`, on ``machine``.

    Raises:
        DeviceError: the device fails.
    """
    from tvm.runtime.vm import VirtualMachine  # noqa: F401  its import is no part of loading

    begin = time.perf_counter()
    if not isinstance(artifact, Artifact):
        artifact = Artifact.load(artifact)
    session = Session(artifact, machine, threads)
    session.load_seconds = time.perf_counter() - begin
    return session


class Session:
    """A loaded artifact. Calls from one thread at a time.

    Attributes:
        artifact: what it runs.
        threads: how many threads the kernels run on.
        load_seconds: how long it took to read, verify and load the artifact.
    """

    def __init__(self, artifact: Artifact, machine: Machine, threads: int | None = None) -> None:
        self.artifact = artifact
        self.load_seconds = 0.0
        self._machine = machine
        target = artifact.metadata.target
        machine.check_target(target)
        self.threads = machine.set_threads(threads)
        self._device = machine.tvm_device(target)
        self._library = machine.call("loading the library", machine.load_library, artifact.library)
        self._vm = machine.call("starting the virtual machine", self._new_vm)
        self._inputs: list[Any] = []
        self._constants: list[Any] = []
        machine.call("sending the weights", self._place_tensors)

    @property
    def signature(self) -> Signature:
        """Names, shapes and dtypes of inputs and outputs."""
        return self.artifact.metadata.signature

    @property
    def machine(self) -> Machine:
        """Where it runs."""
        return self._machine

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the network once.

        Args:
            inputs: one array for each input, of exactly its shape and dtype.

        Returns:
            The outputs by name; the arrays are the caller's.

        Raises:
            InputError: a name, shape or dtype is not what the network takes.
            DeviceError: the device failed.
        """
        self.set_inputs(inputs)
        return self._machine.call("running", self._invoke)

    def set_inputs(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Check the inputs and put them where the next runs read them.

        Raises:
            InputError: as :meth:`run`.
        """
        arrays = check_inputs(inputs, self.signature)
        self._machine.set_threads(self.threads)
        self._machine.call("sending the inputs", self._fill_inputs, arrays)

    def time(self, runs: int) -> list[float]:
        """Time ``runs`` runs one by one, where they run, with the inputs set last.

        Returns:
            Seconds of each, without the copies of inputs and outputs and without the network.
        """

        def measure() -> list[float]:
            evaluator = self._vm.module.time_evaluator(
                "invoke_stateful", self._device, number=1, repeat=runs
            )
            return list(evaluator(_MAIN).results)

        return self._machine.call(f"timing {runs} runs", measure)

    def benchmark(self, runs: int | None = None) -> Benchmark:
        """Latency with warm-up, load time and memory: see :mod:`tvmcomp.runtime.bench`."""
        from tvmcomp.runtime.bench import benchmark

        return benchmark(self, runs)

    def profile(self, runs: int = 10) -> list[KernelTime]:
        """Time by kernel: see :mod:`tvmcomp.runtime.profile`."""
        from tvmcomp.runtime.profile import profile

        return profile(self, runs)

    def instrumented_run(self, factory: str, runs: int) -> None:
        """Run with the inputs set last, TVM calling the instrument that ``factory`` makes.

        Args:
            factory: name of a global function there, from "is it a GPU" to an instrument.
            runs: how many times.
        """

        def run() -> None:
            vm = self._new_vm()  # one of its own: an instrument can't be taken off again
            vm.set_input(_MAIN, *self._inputs, *self._constants)
            vm.invoke_stateful(_MAIN)  # allocates its memory
            is_gpu = self.artifact.metadata.target.family == "cuda"
            vm.module["set_instrument"](factory, int(is_gpu))
            for _ in range(runs):
                vm.invoke_stateful(_MAIN)

        self._machine.call("profiling", run)

    def close(self) -> None:
        """Let go of the library, the weights and the tensors."""
        self._inputs, self._constants = [], []
        del self._vm, self._library

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _new_vm(self) -> Any:
        from tvm.runtime.vm import VirtualMachine

        return VirtualMachine(self._library, self._device)

    def _place_tensors(self) -> None:
        """Weights once and for all; inputs as tensors that every run's values are copied into."""
        for array in self.artifact.constants:
            self._constants.append(self._machine.tensor(array, self._device))
        for spec in self.signature.inputs:
            self._inputs.append(tvm.runtime.empty(spec.shape, spec.dtype, self._device))
        self._vm.set_input(_MAIN, *self._inputs, *self._constants)

    def _fill_inputs(self, arrays: list[np.ndarray]) -> None:
        for tensor, array in zip(self._inputs, arrays, strict=True):
            tensor.copyfrom(array)
        if self._machine.copies_arguments:
            self._vm.set_input(_MAIN, *self._inputs, *self._constants)

    def _invoke(self) -> dict[str, np.ndarray]:
        self._vm.invoke_stateful(_MAIN)
        result = self._vm.get_outputs(_MAIN)
        tensors = result if isinstance(result, tuple) else (result,)
        outputs = self.signature.outputs
        if len(tensors) != len(outputs):
            raise ArtifactError(
                f"returned {len(tensors)} outputs, its signature lists {len(outputs)}"
            )
        return {spec.name: t.numpy() for spec, t in zip(outputs, tensors, strict=True)}


def check_inputs(inputs: Mapping[str, np.ndarray], signature: Signature) -> list[np.ndarray]:
    """The arrays of ``inputs`` in the signature's order.

    Nothing is cast: a caller who gives another type than the network was built for most likely
    skipped a step of the preprocessing.

    Raises:
        InputError: a name, shape or dtype is not what the network takes.
    """
    wanted = ", ".join(describe(spec) for spec in signature.inputs)
    names = {spec.name for spec in signature.inputs}
    missing, unknown = sorted(names - set(inputs)), sorted(set(inputs) - names)
    if missing or unknown:
        parts = [f"input {name!r} is missing" for name in missing]
        parts += [f"there is no input {name!r}" for name in unknown]
        raise InputError("; ".join(parts), hint=f"The network takes: {wanted}.")
    return [_check_array(inputs[spec.name], spec) for spec in signature.inputs]


def describe(spec: TensorSpec) -> str:
    """``x float32[1, 3, 224, 224]``."""
    return f"{spec.name} {spec.dtype}{list(spec.shape)}"


def _check_array(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    if not isinstance(array, np.ndarray):
        raise InputError(
            f"input {spec.name!r} is a {type(array).__name__}, not a numpy array",
            hint=f"The network takes {describe(spec)}.",
        )
    if array.shape != spec.shape:
        raise InputError(
            f"input {spec.name!r} has shape {list(array.shape)}, not {list(spec.shape)}",
            hint=f"The network takes {describe(spec)}.",
        )
    if array.dtype != numpy_dtype(spec.dtype):
        raise InputError(
            f"input {spec.name!r} is {array.dtype}, not {spec.dtype}",
            hint=f"Nothing is cast silently; convert it with .astype({spec.dtype!r}).",
        )
    return np.ascontiguousarray(array)
