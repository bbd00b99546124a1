"""A network's shared library, called through ctypes: what the tests of native code run."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tvmcomp.dtypes import numpy_dtype

_TEXT, _POINTER = ctypes.c_char_p, ctypes.c_void_p
HOOK = ctypes.CFUNCTYPE(None, _POINTER, ctypes.c_int32, ctypes.c_int32)


class TensorInfo(ctypes.Structure):
    _fields_ = [
        ("name", _TEXT),
        ("dtype", _TEXT),
        ("ndim", ctypes.c_int32),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("nbytes", ctypes.c_uint64),
        ("alignment", ctypes.c_uint32),
    ]

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(self.shape[: self.ndim])


class NetworkInfo(ctypes.Structure):
    _fields_ = [
        ("abi", ctypes.c_uint32),
        ("name", _TEXT),
        ("features", _TEXT),
        ("num_inputs", ctypes.c_int32),
        ("num_outputs", ctypes.c_int32),
        ("num_constants", ctypes.c_int32),
        ("num_kernels", ctypes.c_int32),
        ("inputs", ctypes.POINTER(TensorInfo)),
        ("outputs", ctypes.POINTER(TensorInfo)),
        ("constants", ctypes.POINTER(TensorInfo)),
        ("weights", _POINTER),
        ("kernels", ctypes.POINTER(_TEXT)),
        ("workspace", ctypes.c_uint64),
        ("run", _POINTER),
    ]


class Weights(ctypes.Structure):
    _fields_ = [
        ("arrays", ctypes.POINTER(_POINTER)),
        ("coded", _POINTER),
        ("coded_bytes", ctypes.c_uint64),
    ]


class Options(ctypes.Structure):
    _fields_ = [
        ("threads", ctypes.c_int32),
        ("spin_us", ctypes.c_int32),
        ("cores", _POINTER),
        ("num_cores", ctypes.c_int32),
        ("workspace", _POINTER),
        ("weights", ctypes.POINTER(Weights)),
        ("parallel_for", _POINTER),
        ("parallel_user", _POINTER),
        ("hook", _POINTER),
        ("hook_user", _POINTER),
    ]


def aligned_bytes(count: int, alignment: int = 64, beside: int = 0) -> np.ndarray:
    """Memory whose address is ``beside`` more than a multiple of ``alignment``."""
    memory = np.full(count + alignment + beside, 0xA5, np.uint8)
    start = -memory.ctypes.data % alignment + beside
    return memory[start : start + count]


class NativeNetwork:
    """A loaded library with its weights: one context."""

    def __init__(self, path: Path, constants: Sequence[np.ndarray], threads: int) -> None:
        self.library = ctypes.CDLL(str(path))
        self.library.tvmcomp_library.restype = ctypes.POINTER(NetworkInfo)
        for name in ("tvmcomp_run", "tvmcomp_set_hook", "tvmcomp_destroy"):
            getattr(self.library, name).argtypes = [_POINTER] * 3
        self.library.tvmcomp_destroy.argtypes = [_POINTER]
        self.info = self.library.tvmcomp_library(0).contents
        self.weights = []
        for array, info in zip(constants, self.info.constants[: len(constants)], strict=True):
            data = np.ascontiguousarray(array).tobytes()
            assert len(data) == info.nbytes, (info.name, len(data), info.nbytes)
            self.weights.append(aligned_bytes(len(data)))
            self.weights[-1][:] = np.frombuffer(data, np.uint8)
        given = Weights(arrays=_addresses(self.weights))
        # With guards behind it: what is written there was not planned.
        self.workspace = aligned_bytes(self.info.workspace + 64)
        options = Options(
            threads=threads, weights=ctypes.pointer(given), workspace=self.workspace.ctypes.data
        )
        self.context = _POINTER()
        status = self.library.tvmcomp_create(
            ctypes.byref(self.info), ctypes.byref(options), ctypes.byref(self.context)
        )
        assert status == 0, status

    def run(self, *inputs: np.ndarray, beside: int = 0) -> list[np.ndarray]:
        """The outputs; ``beside``: how far from aligned addresses inputs and outputs lie."""
        given = [aligned_bytes(x.nbytes, beside=beside) for x in inputs]
        for memory, array in zip(given, inputs, strict=True):
            memory[:] = np.frombuffer(np.asarray(array, order="C").tobytes(), np.uint8)
        outputs = self.info.outputs[: self.info.num_outputs]
        # Guards of what the network may not write lie behind every output.
        taken = [aligned_bytes(info.nbytes + 64, beside=beside) for info in outputs]
        status = self.library.tvmcomp_run(self.context, _addresses(given), _addresses(taken))
        assert status == 0, status
        assert all((each[-64:] == 0xA5).all() for each in (*taken, self.workspace))
        return [
            memory[: info.nbytes].view(numpy_dtype(info.dtype.decode())).reshape(info.sizes)
            for memory, info in zip(taken, outputs, strict=True)
        ]

    def calls(self, *inputs: np.ndarray) -> list[tuple[str, int]]:
        """What a hook sees of a run: kernels' names, with 1 before and 0 after them."""
        seen: list[tuple[str, int]] = []

        def note(_user: int, kernel: int, before: int) -> None:
            seen.append((self.info.kernels[kernel].decode(), before))

        hook = HOOK(note)
        self.library.tvmcomp_set_hook(self.context, ctypes.cast(hook, _POINTER), None)
        self.run(*inputs)
        self.library.tvmcomp_set_hook(self.context, None, None)
        return seen

    def close(self) -> None:
        self.library.tvmcomp_destroy(self.context)


def _addresses(arrays: Sequence[np.ndarray]) -> ctypes.Array:
    return (_POINTER * max(1, len(arrays)))(*(each.ctypes.data for each in arrays))


@contextmanager
def loaded(
    library: bytes, constants: Sequence[np.ndarray] = (), threads: int = 1
) -> Iterator[NativeNetwork]:
    """A library with its weights, ready to run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lib.so"
        path.write_bytes(library)
        network = NativeNetwork(path, constants, threads)
    try:
        yield network
    finally:
        network.close()
