"""A network on the CPU of this process: inputs, weights and outputs are used where they lie."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from ctypes import POINTER, c_int32, c_size_t, c_void_p, cast, pointer
from typing import Any

import numpy as np

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.dtypes import numpy_dtype
from tvmcomp.errors import ArtifactError
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.runtime.buffers import InputSlot, OutputSlot, Places, address, aligned
from tvmcomp.runtime.inputs import check_names
from tvmcomp.runtime.native_library import NativeLibrary, Options, Tensor, Weights, library_of
from tvmcomp.runtime.threads import Threads


def native_programs(artifact: Artifact, threads: Threads) -> list[NativeProgram]:
    """A program for each shape that the artifact was built for; they share its weights.

    Raises:
        ArtifactError: the library is not what the artifact says.
        DeviceError: this machine lacks what the code needs, memory or threads.
    """
    library, signatures = library_of(artifact), artifact.metadata.signatures
    if len(library.networks) != len(signatures):
        raise ArtifactError(
            f"its library is for {len(library.networks)} shapes, its metadata lists "
            f"{len(signatures)}"
        )
    constants = [None if array is None else aligned(array) for array in artifact.constants]
    return [
        NativeProgram(library, shape, signature, constants, artifact.coded, threads)
        for shape, signature in enumerate(signatures)
    ]


class NativeProgram:
    """The :class:`~tvmcomp.runtime.program.Program` of this machine's CPU.

    It has threads of its own, so programs of several Python threads run at once. A call costs about
    as much as a small kernel, so :meth:`run` does nothing twice.

    Args:
        library: the network's.
        shape: for which of its shapes.
        signature: what that takes and gives.
        constants: the weights, aligned; None: it is coded.
        coded: those.
        threads: to run on.

    Attributes:
        library: as given.
    """

    def __init__(
        self,
        library: NativeLibrary,
        shape: int,
        signature: Signature,
        constants: Sequence[np.ndarray | None],
        coded: np.ndarray,
        threads: Threads,
    ) -> None:
        self.threads = threads
        network = library.networks[shape]
        _check("inputs", network.inputs[: network.num_inputs], signature.inputs)
        _check("outputs", network.outputs[: network.num_outputs], signature.outputs)
        _check_constants(network.constants[: network.num_constants], constants)
        self.library, self._shape = library, shape
        self._specs = signature.inputs
        inputs = [InputSlot(spec) for spec in signature.inputs]
        outputs = [OutputSlot(spec) for spec in signature.outputs]
        #: What the network gets: where each input, and each output, lies.
        self._places = (c_size_t * len(inputs))(*map(_address, inputs))
        self._results = (c_size_t * len(outputs))(*map(_address, outputs))
        #: The inputs: small ones in places that stay, others the caller's arrays or copies.
        self._arrays: list[Any] = [slot.place for slot in inputs]
        self._inputs = [
            (slot.name, slot.contiguous if slot.place is None else slot.check) for slot in inputs
        ]
        self._small = [(i, slot.place) for i, slot in enumerate(inputs) if slot.place is not None]
        self._large = [i for i, slot in enumerate(inputs) if slot.place is None]
        #: Name -> where it is written to, None for large ones, which are new arrays in each run.
        self._outputs: dict[str, Any] = {slot.name: slot.place for slot in outputs}
        self._new = [(i, s.name, s.empty) for i, s in enumerate(outputs) if s.place is None]
        self._copied = [(s.name, s.place.copy) for s in outputs if s.place is not None]
        self._empty = [slot.empty for slot in outputs]
        cores = threads.cores or ()
        options = Options(
            threads=threads.count,
            cores=(c_int32 * len(cores))(*cores),
            num_cores=len(cores),
            weights=pointer(_weights(constants, coded)),
        )
        self._context = library.create(shape, options)
        # The library and the weights stay as long as the context.
        kept = [*constants, coded]
        self._end = weakref.finalize(self, _destroy, library, self._context, kept)
        self._end.atexit = False
        #: The arguments never change: to make them anew would take longer than the call.
        self._run = library.bound_run(self._context, self._places, self._results)

    def bind(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Make ``inputs`` those of what follows."""
        try:
            if len(inputs) != len(self._inputs):
                check_names(inputs, self._specs)
            arrays = [take(inputs[name]) for name, take in self._inputs]
        except (KeyError, IndexError, TypeError):
            check_names(inputs, self._specs)
            raise
        for index, place in self._small:
            place[...] = arrays[index]
        for index in self._large:
            self._arrays[index] = array = arrays[index]
            self._places[index] = address(array)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once on ``inputs``."""
        self.bind(inputs)
        outputs = self._outputs.copy()
        for index, name, empty in self._new:
            outputs[name] = array = empty()
            self._results[index] = address(array)
        status = self._run()
        if status:
            self.library.check(status)
        for name, copy in self._copied:
            outputs[name] = copy()
        return outputs

    def time(self, runs: int) -> list[float]:
        """Seconds of each of ``runs`` runs."""
        return self.library.time(self._context, *self._aligned(), runs)

    def profile(self, runs: int) -> dict[str, list[float]]:
        """Seconds of each call of each kernel."""
        seconds: dict[str, list[float]] = defaultdict(list)
        names, run = self.library.kernels(self._shape), self.profiler()
        for _ in range(runs):
            for kernel, taken in run().tolist():
                seconds[names[kernel]].append(taken)
        return dict(seconds)

    def profiler(self) -> Callable[[], np.ndarray]:
        """What runs on the bound inputs: see :meth:`NativeLibrary.profiler`."""
        return self.library.profiler(self._context, *self._aligned())

    def close(self) -> None:
        """Let go of everything."""
        self._end()
        self._arrays = []
        del self.library, self._run, self._inputs

    def _aligned(self) -> tuple[Places, Places]:
        """Inputs and outputs that the network need not copy."""
        inputs = Places(self._arrays)
        self._arrays = inputs.arrays
        return inputs, Places(empty() for empty in self._empty)


def _address(slot: InputSlot | OutputSlot) -> int:
    return 0 if slot.place is None else address(slot.place)


def _destroy(library: NativeLibrary, context: int, _weights: Sequence[object]) -> None:
    library.destroy(context)


def _check_constants(tensors: Sequence[Tensor], constants: Sequence[np.ndarray | None]) -> None:
    """Raise ArtifactError where the weights, coded ones apart, are not what the library takes."""
    if len(tensors) != len(constants) or any(
        array is not None and array.nbytes != tensor.nbytes
        for tensor, array in zip(tensors, constants, strict=True)
    ):
        raise ArtifactError("its library takes other weights than the artifact holds")


def _weights(constants: Sequence[np.ndarray | None], coded: np.ndarray) -> Weights:
    """What the library gets of them; programs that share ``coded`` share what it decodes to."""
    places = (c_size_t * len(constants))(
        *(0 if array is None else address(array) for array in constants)
    )
    return Weights(
        arrays=cast(places, POINTER(c_void_p)),
        coded=address(coded) if coded.nbytes else None,
        coded_bytes=coded.nbytes,
    )


def _check(kind: str, tensors: Sequence[Tensor], specs: Sequence[TensorSpec]) -> None:
    """Raise ArtifactError where the library has other inputs or outputs than the signature."""
    if len(tensors) != len(specs):
        raise ArtifactError(
            f"its library has {len(tensors)} {kind}, its signature lists {len(specs)}"
        )
    for tensor, spec in zip(tensors, specs, strict=True):
        dtype = tensor.dtype.decode()
        if tensor.sizes != spec.shape or numpy_dtype(dtype) != numpy_dtype(spec.dtype):
            raise ArtifactError(
                f"its library has {spec.name!r} as {dtype}{list(tensor.sizes)}, its signature "
                f"says {spec.dtype}{list(spec.shape)}"
            )
