"""A network where the caller's arrays are not: on a board, or on the GPU of this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.errors import DeviceError
from tvmcomp.runtime.inputs import check_inputs
from tvmcomp.runtime.program import check_outputs
from tvmcomp.runtime.threads import Threads
from tvmcomp.runtime.virtual_machine import MAIN, start_vm, time_evaluator
from tvmcomp.runtime.vm_profile import RESULT, START
from tvmcomp.tvm_import import tvm

if TYPE_CHECKING:
    from tvmcomp.runtime.machine import TvmMachine


class CopyingProgram:
    """The :class:`~tvmcomp.runtime.program.Program` of a place that everything is copied to.

    Args:
        artifact: the network.
        library: its library, loaded there.
        machine: the place.
        threads: what the kernels run on there.
        use_threads: sets that, before each run.
    """

    def __init__(
        self,
        artifact: Artifact,
        library: Any,
        machine: TvmMachine,
        threads: Threads,
        use_threads: Callable[[Threads], None],
    ) -> None:
        self.threads = threads
        self._use_threads = use_threads
        self._machine = machine
        self._call = call = machine.call
        self._library = library
        target = artifact.metadata.target
        self._device = device = machine.tvm_device(target)
        self._is_gpu = target.family == "cuda"
        self._signature = artifact.metadata.signature
        self._vm = call("starting the virtual machine", start_vm, library, device)
        self._inputs: list[Any] = []
        self._constants: list[Any] = []
        call("sending the weights", self._send, artifact)

    def bind(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Check ``inputs`` and copy them there."""
        arrays = check_inputs(inputs, self._signature.inputs)
        self._use_threads(self.threads)
        self._call("sending the inputs", self._fill_inputs, arrays)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Copy ``inputs`` there, run once, copy the outputs back."""
        self.bind(inputs)
        return dict(self._call("running", self._invoke))

    def time(self, runs: int) -> list[float]:
        """Seconds of each of ``runs`` runs, measured there."""
        return list(self._call(f"timing {runs} runs", self._time, runs))

    def profile(self, runs: int) -> dict[str, list[float]]:
        """Seconds of each call of each kernel in ``runs`` runs, by an instrument of that place."""
        result = self._machine.function(RESULT)
        if result is None:
            raise DeviceError(
                "its RPC server can't profile",
                where=self._machine.name,
                hint="Start the server on the device with `tvmcomp devices serve`.",
            )
        self._call("profiling", self._run_instrumented, runs)
        text = str(self._call("profiling", result))
        return msgspec.json.decode(text, type=dict[str, list[float]])

    def close(self) -> None:
        """Let go of everything."""
        self._inputs, self._constants = [], []
        del self._vm, self._library

    def _send(self, artifact: Artifact) -> None:
        """Weights once and for all; inputs as tensors that every run's values are copied into."""
        for array in artifact.plain_constants:
            self._constants.append(tvm.runtime.tensor(array, self._device))
        for spec in artifact.metadata.signature.inputs:
            self._inputs.append(tvm.runtime.empty(spec.shape, spec.dtype, self._device))

    def _fill_inputs(self, arrays: Sequence[np.ndarray]) -> None:
        for tensor, array in zip(self._inputs, arrays, strict=True):
            tensor.copyfrom(array)
        # Over RPC the tensors are copied there and then, so a later change of them is not seen.
        self._vm["set_input"](MAIN, *self._inputs, *self._constants)

    def _invoke(self) -> dict[str, np.ndarray]:
        self._vm["invoke_stateful"](MAIN)
        arity = self._vm["get_output_arity"](MAIN)  # -1: one tensor, not a tuple
        get = self._vm["get_output"]
        tensors = [get(MAIN)] if arity == -1 else [get(MAIN, index) for index in range(arity)]
        specs = self._signature.outputs
        check_outputs(tensors, specs)
        return {spec.name: t.numpy() for spec, t in zip(specs, tensors, strict=True)}

    def _time(self, runs: int) -> list[float]:
        return time_evaluator(self._vm, self._device, "invoke_stateful", MAIN, runs=runs)

    def _run_instrumented(self, runs: int) -> None:
        # A machine of its own: an instrument can't be taken off again.
        vm = start_vm(self._library, self._device)
        vm["set_input"](MAIN, *self._inputs, *self._constants)
        vm["invoke_stateful"](MAIN)  # allocates its memory
        vm["set_instrument"](START, int(self._is_gpu))
        for _ in range(runs):
            vm["invoke_stateful"](MAIN)
