"""The compiled library of a network in this process: the C interface of ``tvmcomp.h`` in ctypes.

A library is loaded once, however many sessions use it, and unmapped with the last of them.
"""

from __future__ import annotations

import _ctypes
import ctypes
import threading
import weakref
from collections.abc import Callable
from ctypes import c_char_p, c_double, c_int32, c_int64, c_uint32, c_uint64, c_void_p
from functools import partial
from typing import Any

import numpy as np

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.errors import ArtifactError, DeviceError, ToolError
from tvmcomp.runtime.buffers import Places, address
from tvmcomp.runtime.fork_lock import open_in_children
from tvmcomp.temporary_folder import temporary_folder

#: ``TVMCOMP_ABI`` of the ``tvmcomp.h`` that what follows is written to.
_ABI = 2

_BUILD_AGAIN = "Build the artifact again with this version."
#: Room for the calls of a run, before it is known how many there are.
_FIRST_CALLS = 256


#: ``tvmcomp_call``.
_CALL = np.dtype([("kernel", np.int32), ("seconds", np.float64)], align=True)


class Tensor(ctypes.Structure):
    """``tvmcomp_tensor``."""

    _fields_ = (
        ("name", c_char_p),
        ("dtype", c_char_p),
        ("ndim", c_int32),
        ("shape", ctypes.POINTER(c_int64)),
        ("nbytes", c_uint64),
        ("alignment", c_uint32),
    )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self.shape[: self.ndim])


class Network(ctypes.Structure):
    """``tvmcomp_network``."""

    _fields_ = (
        ("abi", c_uint32),
        ("name", c_char_p),
        ("features", c_char_p),
        ("num_inputs", c_int32),
        ("num_outputs", c_int32),
        ("num_constants", c_int32),
        ("num_kernels", c_int32),
        ("inputs", ctypes.POINTER(Tensor)),
        ("outputs", ctypes.POINTER(Tensor)),
        ("constants", ctypes.POINTER(Tensor)),
        ("weights", c_void_p),
        ("kernels", ctypes.POINTER(c_char_p)),
        ("workspace", c_uint64),
        ("run", c_void_p),
    )


class Weights(ctypes.Structure):
    """``tvmcomp_weights``."""

    _fields_ = (
        ("arrays", ctypes.POINTER(c_void_p)),
        ("coded", c_void_p),
        ("coded_bytes", c_uint64),
    )


class Options(ctypes.Structure):
    """``tvmcomp_options``."""

    _fields_ = (
        ("threads", c_int32),
        ("spin_us", c_int32),
        ("cores", ctypes.POINTER(c_int32)),
        ("num_cores", c_int32),
        ("workspace", c_void_p),
        ("weights", ctypes.POINTER(Weights)),
        ("parallel_for", c_void_p),
        ("parallel_user", c_void_p),
        ("hook", c_void_p),
        ("hook_user", c_void_p),
    )


class NativeLibrary:
    """A loaded library. While it runs, other Python threads do.

    Attributes:
        networks: what it describes itself as, for each shape that it was built for.
    """

    def __init__(self, library: bytes) -> None:
        loaded = _load(library)
        weakref.finalize(self, _ctypes.dlclose, loaded._handle).atexit = False
        try:
            self._find_functions(loaded)
        except AttributeError as error:
            raise ArtifactError(
                f"its library has not the C interface of this tvmcomp: {error}", hint=_BUILD_AGAIN
            ) from None

    def _find_functions(self, loaded: ctypes.CDLL) -> None:
        loaded.tvmcomp_library.restype = ctypes.POINTER(Network)
        loaded.tvmcomp_library.argtypes = [c_int32]
        self.networks: list[Network] = []
        while found := loaded.tvmcomp_library(len(self.networks)):
            network = found.contents
            if network.abi != _ABI:
                raise ArtifactError(
                    f"its library has version {network.abi} of tvmcomp's C interface; this "
                    f"tvmcomp calls version {_ABI}",
                    hint=_BUILD_AGAIN,
                )
            self.networks.append(network)
        self._loaded = loaded
        self._create = loaded.tvmcomp_create
        self._create.argtypes = [c_void_p, ctypes.POINTER(Options), ctypes.POINTER(c_void_p)]
        self._destroy = loaded.tvmcomp_destroy
        self._destroy.argtypes = [c_void_p]
        self._destroy.restype = None
        self._text = loaded.tvmcomp_status_text
        self._text.argtypes = [c_int32]
        self._text.restype = c_char_p
        self._run = loaded.tvmcomp_run
        self._time = loaded.tvmcomp_time
        self._time.argtypes = [c_void_p, c_void_p, c_void_p, c_int32, ctypes.POINTER(c_double)]
        self._profile = loaded.tvmcomp_profile
        self._profile.argtypes = [*[c_void_p] * 4, c_int64, ctypes.POINTER(c_int64)]

    def kernels(self, shape: int) -> list[str]:
        """The names of the kernels for the shape of this number, in the order of their numbers."""
        network = self.networks[shape]
        return [name.decode() for name in network.kernels[: network.num_kernels]]

    def variable(self, name: str) -> c_void_p:
        """An address that the library holds under a name. Raises ValueError where it has none."""
        return c_void_p.in_dll(self._loaded, name)

    def function(self, name: str) -> Callable[..., Any]:
        """A function beside those of ``tvmcomp.h``."""
        found: Callable[..., Any] = getattr(self._loaded, name)
        return found

    def create(self, shape: int, options: Options) -> int:
        """A context of the network for the shape of this number; its address.

        Raises:
            DeviceError: this machine lacks what the code needs, memory or threads.
        """
        context, network = c_void_p(), ctypes.byref(self.networks[shape])
        self.check(self._create(network, ctypes.byref(options), ctypes.byref(context)))
        assert context.value is not None
        return context.value

    def destroy(self, context: int) -> None:
        """End the context's threads and free its memory."""
        self._destroy(context)

    def bound_run(self, context: int, inputs: Any, outputs: Any) -> Callable[[], int]:
        """``tvmcomp_run`` with its arguments.

        Args:
            context: from :meth:`create`.
            inputs, outputs: ctypes arrays of addresses, which may change from call to call.
        """
        places = c_void_p(ctypes.addressof(inputs)), c_void_p(ctypes.addressof(outputs))
        return partial(self._run, c_void_p(context), *places)

    def time(self, context: int, inputs: Places, outputs: Places, runs: int) -> list[float]:
        """Seconds of each of ``runs`` runs."""
        seconds = (c_double * runs)()
        self.check(self._time(context, inputs.address, outputs.address, runs, seconds))
        return list(seconds)

    def profiler(self, context: int, inputs: Places, outputs: Places) -> Callable[[], np.ndarray]:
        """What runs the network once and returns the calls of kernels, in order.

        An array of ``kernel``, the number of one, and ``seconds``; the next run writes to it again.
        """
        calls, count = np.empty(_FIRST_CALLS, _CALL), c_int64()
        there = ctypes.byref(count)

        def profile() -> np.ndarray:
            nonlocal calls
            while True:
                places = inputs.address, outputs.address, address(calls), calls.size
                self.check(self._profile(context, *places, there))
                if count.value <= calls.size:
                    return calls[: count.value]
                calls = np.empty(count.value, _CALL)

        return profile

    def check(self, status: int) -> None:
        """Raise DeviceError where a function of the interface did not give ``TVMCOMP_OK``."""
        if status != 0:
            raise DeviceError(self._text(status).decode(), where="this machine")


class _Loaded:
    """The libraries that sessions use now, by the digest of their bytes."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.libraries: weakref.WeakValueDictionary[str, NativeLibrary] = (
            weakref.WeakValueDictionary()
        )


_loaded = _Loaded()
open_in_children(_loaded)


def library_of(artifact: Artifact) -> NativeLibrary:
    """The artifact's library, loaded; the same one while a session uses it.

    Raises:
        ToolError: there is no room for its file, or it can't be loaded.
        ArtifactError: it is of another version.
    """
    digest = artifact.metadata.digests["lib.so"]
    with _loaded.lock:
        library = _loaded.libraries.get(digest)
        if library is None:
            library = _loaded.libraries[digest] = NativeLibrary(artifact.library)
        return library


def _load(library: bytes) -> ctypes.CDLL:
    """Load a shared library; no file of it is left behind."""
    with temporary_folder("load") as folder:
        path = folder / "lib.so"
        path.write_bytes(library)
        try:
            return ctypes.CDLL(str(path))
        except OSError as error:
            reason = str(error).strip().splitlines()[-1].replace(f"{path}: ", "")
            raise ToolError(
                f"the library can't be loaded: {reason}",
                where=str(folder.parent),
                hint="Where that folder is mounted `noexec`, set TMPDIR to another.",
            ) from None
