"""A network's own library on the CPU of a board, called over TVM's RPC."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.errors import DeviceError
from tvmcomp.runtime.inputs import check_inputs
from tvmcomp.runtime.program import check_outputs
from tvmcomp.runtime.threads import Threads
from tvmcomp.tvm_import import tvm

if TYPE_CHECKING:
    from tvmcomp.runtime.machine import TvmMachine

#: Room for the calls of a run, before it is known how many there are.
_FIRST_CALLS = 256


def native_remote_programs(
    artifact: Artifact,
    library: Any,
    machine: TvmMachine,
    threads: Threads,
    use_threads: Callable[[Threads], None],
) -> list[NativeRemoteProgram]:
    """A program for each shape that the artifact was built for; the weights are sent once.

    The arguments are those of :class:`NativeRemoteProgram`.
    """
    device = machine.tvm_device(artifact.metadata.target)

    def send() -> list[Any]:
        coded = [artifact.coded] if artifact.coded.nbytes else []
        arrays = (*artifact.constants, *coded)
        return [None if each is None else tvm.runtime.tensor(each, device) for each in arrays]

    constants = machine.call("sending the weights", send)
    return [
        NativeRemoteProgram(artifact, shape, constants, library, machine, threads, use_threads)
        for shape in range(len(artifact.metadata.signatures))
    ]


class NativeRemoteProgram:
    """The :class:`~tvmcomp.runtime.program.Program` of a board's CPU.

    Inputs and outputs are tensors there that every run uses. What is called is in
    ``cruntime/tvm_entry.c``.

    Args:
        artifact: the network.
        shape: for which of its shapes: a number.
        constants: its weights, there; None: it is coded, and the coded ones follow.
        library: its library, loaded there.
        machine: the board.
        threads: what the kernels run on there.
        use_threads: makes the session's process ready for them, before each run.

    Raises:
        DeviceError: the board can't run it, or failed.
    """

    def __init__(
        self,
        artifact: Artifact,
        shape: int,
        constants: Sequence[Any],
        library: Any,
        machine: TvmMachine,
        threads: Threads,
        use_threads: Callable[[Threads], None],
    ) -> None:
        self.threads = threads
        self._use_threads = use_threads
        self._call = machine.call
        self._library = library
        self._shape = shape
        self._signature = artifact.metadata.signatures[shape]
        self._device = machine.tvm_device(artifact.metadata.target)
        self._constants = constants
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._call("making room for inputs and outputs", self._make_room)
        self._context = int(self._call("opening the network", self._open))
        self._kernels: list[str] | None = None

    def bind(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Check ``inputs`` and copy them there."""
        arrays = check_inputs(inputs, self._signature.inputs)
        self._call("sending the inputs", self._fill_inputs, arrays)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Copy ``inputs`` there, run once, copy the outputs back."""
        self.bind(inputs)
        self._use_threads(self.threads)
        return dict(self._call("running", self._run))

    def time(self, runs: int) -> list[float]:
        """Seconds of each of ``runs`` runs, measured there."""
        self._use_threads(self.threads)
        return list(self._call(f"timing {runs} runs", self._time, runs))

    def profile(self, runs: int) -> dict[str, list[float]]:
        """Seconds of each call of each kernel, measured there."""
        self._use_threads(self.threads)
        if self._kernels is None:
            self._kernels = self._call("asking for the kernels", self._kernel_names)
        seconds: dict[str, list[float]] = defaultdict(list)
        self._call("profiling", self._profile, runs, self._kernels, seconds)
        return dict(seconds)

    def close(self) -> None:
        """End its threads there, and let go of everything."""
        with suppress(DeviceError):  # the session may have ended, and the network with it
            self._call("closing the network", self._library["close"], self._context)
        self._constants, self._inputs, self._outputs = [], [], []
        del self._library

    def _make_room(self) -> None:
        for specs, tensors in (
            (self._signature.inputs, self._inputs),
            (self._signature.outputs, self._outputs),
        ):
            tensors += [self._empty(spec.shape, spec.dtype) for spec in specs]

    def _empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        return tvm.runtime.empty(shape, dtype, self._device)

    def _open(self) -> int:
        cores = self.threads.cores or ()
        open_context = self._library["open"]
        threads = self.threads.count, len(cores), *cores
        return int(open_context(self._shape, *threads, *self._constants))

    def _fill_inputs(self, arrays: list[np.ndarray]) -> None:
        for tensor, array in zip(self._inputs, arrays, strict=True):
            tensor.copyfrom(array)

    def _run(self) -> dict[str, np.ndarray]:
        self._library["run"](self._context, *self._inputs, *self._outputs)
        specs = self._signature.outputs
        check_outputs(self._outputs, specs)
        return {spec.name: t.numpy() for spec, t in zip(specs, self._outputs, strict=True)}

    def _time(self, runs: int) -> list[float]:
        seconds = self._empty((runs,), "float64")
        self._library["time"](self._context, runs, seconds, *self._inputs, *self._outputs)
        return [float(each) for each in seconds.numpy()]

    def _kernel_names(self) -> list[str]:
        kernels = self._library["kernels"]
        size = int(kernels(self._shape, self._empty((1,), "uint8")))
        text = self._empty((max(size, 1),), "uint8")
        kernels(self._shape, text)
        return bytes(text.numpy())[:size].decode().split("\0")[:-1]

    def _profile(self, runs: int, names: list[str], seconds: dict[str, list[float]]) -> None:
        room = _FIRST_CALLS
        while runs > 0:
            kernels, times = self._empty((room,), "int32"), self._empty((room,), "float64")
            profile, tensors = self._library["profile"], (*self._inputs, *self._outputs)
            made = int(profile(self._context, kernels, times, *tensors))
            if made > room:
                room = made
                continue
            calls = zip(kernels.numpy()[:made], times.numpy()[:made], strict=True)
            for kernel, time in calls:
                seconds[names[int(kernel)]].append(float(time))
            runs -= 1
