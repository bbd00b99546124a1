"""Where numpy arrays lie: compiled code reads inputs there, and writes outputs to new ones."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable

import numpy as np

from tvmcomp.dtypes import numpy_dtype
from tvmcomp.model import TensorSpec
from tvmcomp.runtime.inputs import check_array

#: Bytes that compiled code takes a tensor's address to be a multiple of, where it asks for most.
ALIGNMENT = 64
#: Tensors up to this size are copied: finding where an array lies takes longer.
_SMALL = 1024
_empty = np.empty
_word_at = ctypes.c_size_t.from_address


def _find_data_pointer() -> int | None:
    """Where in the object of an array its data's address is; None where that is not known.

    It is the first field after Python's own, and numpy's C interface keeps it there.
    """
    if sys.implementation.name != "cpython":
        return None
    offset = object.__basicsize__
    arrays = [np.empty(size, np.uint8) for size in (1, 100, 10_000)]
    same = all(_word_at(id(array) + offset).value == array.ctypes.data for array in arrays)
    return offset if same else None


_DATA_POINTER = _find_data_pointer()


def address(array: np.ndarray) -> int:
    """Of an array's first byte: in a fifth of the time that ``array.ctypes.data`` takes."""
    if _DATA_POINTER is None:
        return array.ctypes.data
    return _word_at(id(array) + _DATA_POINTER).value


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A new array at a multiple of 64."""
    count = 1
    for size in shape:
        count *= size
    size = count * dtype.itemsize
    memory = _empty(size + ALIGNMENT, np.uint8)
    start = -address(memory) % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def aligned(array: np.ndarray) -> np.ndarray:
    """The array itself if it is contiguous at a multiple of 64, or a copy that is."""
    if array.flags.c_contiguous and address(array) % ALIGNMENT == 0:
        return array
    copy = aligned_empty(array.shape, array.dtype)
    copy[...] = array
    return copy


class Places:
    """Aligned arrays, and their addresses as compiled code takes them."""

    def __init__(self, arrays: Iterable[np.ndarray]) -> None:
        self.arrays = [aligned(array) for array in arrays]
        self._places = (ctypes.c_size_t * len(self.arrays))(*map(address, self.arrays))
        #: Where the addresses are.
        self.address = ctypes.addressof(self._places)


class InputSlot:
    """Finds the bytes of one input in the arrays that callers give, run after run.

    Attributes:
        name: the input's.
        place: where those of a small one are copied to; None for others.
    """

    def __init__(self, spec: TensorSpec) -> None:
        self.name = spec.name
        self._spec = spec
        self._shape = spec.shape
        self._dtype = numpy_dtype(spec.dtype)
        self.place = _small_place(spec)

    def check(self, array: np.ndarray) -> np.ndarray:
        """The array itself. Raises InputError if it is not of the input's shape and dtype."""
        # NumPy's own types are one object each: another one may still be equal.
        if (
            not isinstance(array, np.ndarray)
            or array.shape != self._shape
            or array.dtype is not self._dtype
        ):
            check_array(array, self._spec)
        return array

    def contiguous(self, array: np.ndarray) -> np.ndarray:
        """The array itself if it lies as numpy makes new ones, or a copy that does.

        Raises:
            InputError: it is not of the input's shape and dtype.
        """
        self.check(array)
        flags = array.flags
        if flags.c_contiguous and flags.aligned:
            return array
        return np.array(array, order="C")


class OutputSlot:
    """Makes the array of one output, run after run.

    Attributes:
        name: the output's.
        place: where a small one is written to, and copied from; None for others.
    """

    def __init__(self, spec: TensorSpec) -> None:
        self.name = spec.name
        self._shape = spec.shape
        self._dtype = numpy_dtype(spec.dtype)
        self.place = _small_place(spec)

    def empty(self) -> np.ndarray:
        """A new one at a multiple of 64."""
        return aligned_empty(self._shape, self._dtype)


def _small_place(spec: TensorSpec) -> np.ndarray | None:
    """A place for a tensor that is small enough to be copied."""
    dtype = numpy_dtype(spec.dtype)
    size = int(np.prod(spec.shape, dtype=np.int64)) * dtype.itemsize
    return aligned_empty(spec.shape, dtype) if size <= _SMALL else None
