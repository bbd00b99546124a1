"""A network on the CPU of this process: inputs, weights and outputs are used where they lie."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.dtypes import numpy_dtype
from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.runtime.inputs import check_names
from tvmcomp.runtime.program import check_outputs
from tvmcomp.runtime.tensors import InputSlot, extent, in_place_or_copied, taker
from tvmcomp.runtime.threads import Threads
from tvmcomp.runtime.tvm_threads import running_on, use_threads
from tvmcomp.runtime.virtual_machine import MAIN, start_vm, time_evaluator
from tvmcomp.runtime.vm_profile import RESULT, START

#: ``main`` with the weights bound to it: it takes the inputs alone.
_BOUND = "main_of_inputs"
#: What TVM's allocator rounds a tensor's size up to.
_PAGE = 4096


class LocalProgram:
    """The :class:`~tvmcomp.runtime.program.Program` of this machine's CPU.

    A call costs about as much as a small kernel, so :meth:`run` does nothing twice.
    """

    def __init__(self, artifact: Artifact, library: Any, threads: Threads) -> None:
        self.threads = threads
        self._library = library
        self._signature = artifact.metadata.signature
        anywhere = artifact.metadata.unaligned_inputs
        self._slots = [
            (spec.name, InputSlot(spec, aligned=not anywhere).tensor)
            for spec in self._signature.inputs
        ]
        self._constants = [in_place_or_copied(array) for array in artifact.constants]
        self._vm = start_vm(library, tvm_ffi.device("cpu", 0))
        self._vm["save_function"](MAIN, _BOUND, 1, *self._constants)
        self._main = self._vm[_BOUND]
        self._arguments: list[Any] = []
        #: The outputs' names, and what makes an array of each; known after the first run.
        self._outputs: list[tuple[str, Callable[[Any], np.ndarray]]] = []

    def bind(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Make ``inputs`` those of what follows."""
        try:
            if len(inputs) != len(self._slots):
                check_names(inputs, self._signature.inputs)
            self._arguments = [as_tensor(inputs[name]) for name, as_tensor in self._slots]
        except (KeyError, IndexError, TypeError):
            check_names(inputs, self._signature.inputs)
            raise

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once on ``inputs``."""
        self.bind(inputs)
        if self.threads.cores is None:  # without the cost of a context
            use_threads(self.threads)
            result = self._main(*self._arguments)
        else:
            with running_on(self.threads):
                result = self._main(*self._arguments)
        if not self._outputs:
            self._learn_outputs(result)
        if isinstance(result, tvm_ffi.Tensor):
            ((name, take),) = self._outputs
            return {name: take(result)}
        return {name: take(t) for (name, take), t in zip(self._outputs, result)}  # noqa: B905

    def time(self, runs: int) -> list[float]:
        """Seconds of each of ``runs`` runs."""
        with running_on(self.threads):
            cpu = tvm_ffi.device("cpu", 0)
            return time_evaluator(self._vm, cpu, _BOUND, *self._arguments, runs=runs)

    def profile(self, runs: int) -> dict[str, list[float]]:
        """Seconds of each call of each kernel."""
        with running_on(self.threads):
            # A machine of its own: an instrument can't be taken off again.
            vm = start_vm(self._library, tvm_ffi.device("cpu", 0))
            main, given = vm[MAIN], [*self._arguments, *self._constants]
            main(*given)  # allocates its memory
            vm["set_instrument"](START, 0)
            for _ in range(runs):
                main(*given)
        text = str(tvm_ffi.get_global_func(RESULT)())
        return msgspec.json.decode(text, type=dict[str, list[float]])

    def close(self) -> None:
        """Let go of everything, and give the memory that no program uses back to the system."""
        self._arguments, self._constants, self._slots = [], [], []
        del self._main, self._vm, self._library
        tvm_ffi.get_global_func("vm.builtin.memory_manager.clear")()
        with suppress(AttributeError):  # of the GNU C library, which keeps what was freed
            ctypes.CDLL(None).malloc_trim(0)

    def _learn_outputs(self, result: Any) -> None:
        """Find out how the outputs become arrays that are the caller's.

        One that is an input, a weight or another output by another name must be copied; the network
        is fixed, so it always will be. A small one is copied too, or it would hold a page of TVM's
        allocator as long as the caller keeps it.
        """
        specs = self._signature.outputs
        tensors = (result,) if isinstance(result, tvm_ffi.Tensor) else tuple(result)
        check_outputs(tensors, specs)
        taken = [extent(tensor) for tensor in (*self._arguments, *self._constants)]
        outputs = []
        for tensor, spec in zip(tensors, specs, strict=True):
            mine = extent(tensor)
            shared = any(mine.start < other.stop and other.start < mine.stop for other in taken)
            take = taker(numpy_dtype(spec.dtype), copy=shared or len(mine) < _PAGE)
            outputs.append((spec.name, take))
            taken.append(mine)
        self._outputs = outputs
