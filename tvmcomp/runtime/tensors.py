"""Between numpy arrays and TVM's tensors in this process, sharing the memory where that can be."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from tvmcomp.dtypes import is_numpys_own, numpy_dtype
from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.model import TensorSpec
from tvmcomp.runtime.inputs import check_array

#: Bytes that TVM's generated code takes a tensor's address to be a multiple of.
ALIGNMENT = 64
_NEWEST_DLPACK = (1, 0)  # the first version that can export what is read-only
_from_dlpack = tvm_ffi.from_dlpack


def in_place(array: np.ndarray, alignment: int = ALIGNMENT) -> Any | None:
    """A tensor over the array's own memory.

    None where that is not contiguous, does not begin at a multiple of ``alignment``, or holds
    elements that numpy can't export.
    """
    if not is_numpys_own(array.dtype) or not array.flags.c_contiguous:
        return None
    tensor = _from_dlpack(array.__dlpack__(max_version=_NEWEST_DLPACK))
    return None if tensor.data_ptr() % alignment else tensor


def in_place_or_copied(array: np.ndarray) -> Any:
    """A tensor over the array's own memory, or over an aligned copy."""
    tensor = in_place(array)
    if tensor is None:
        tensor = empty(array.shape, str(array.dtype))
        as_array(tensor, array.dtype)[...] = array
    return tensor


def empty(shape: tuple[int, ...], dtype: str) -> Any:
    """A new tensor on the CPU."""
    allocate = tvm_ffi.get_global_func("runtime.TVMTensorAllocWithScope")
    return allocate(tvm_ffi.Shape(shape), tvm_ffi.dtype(dtype), tvm_ffi.device("cpu", 0), None)


def as_array(tensor: Any, dtype: np.dtype) -> np.ndarray:
    """An array over the tensor's memory, which it keeps alive.

    Args:
        tensor: on the CPU.
        dtype: numpy's type of its elements.
    """
    if is_numpys_own(dtype):
        return np.from_dlpack(tensor)
    memory: Any = (ctypes.c_char * len(extent(tensor))).from_address(tensor.data_ptr())
    memory._tensor = tensor  # keeps it alive
    return np.frombuffer(memory, dtype).reshape(tensor.shape)


def taker(dtype: np.dtype, *, copy: bool) -> Callable[[Any], np.ndarray]:
    """What makes an array of elements of ``dtype`` from a tensor: over its memory, or a copy."""
    if is_numpys_own(dtype):
        return _copy if copy else np.from_dlpack
    return (lambda t: as_array(t, dtype).copy()) if copy else (lambda t: as_array(t, dtype))


def _copy(tensor: Any) -> np.ndarray:
    return np.from_dlpack(tensor).copy()


def extent(tensor: Any) -> range:
    """The addresses of the tensor's bytes."""
    begin = tensor.data_ptr()
    return range(begin, begin + (tensor.numel() * tensor.dtype.bits + 7) // 8)


class InputSlot:
    """Makes the tensor of one input from the arrays that callers give, run after run.

    Args:
        spec: the input.
        aligned: the kernels need it at a multiple of 64; else at one of its elements' size.
    """

    def __init__(self, spec: TensorSpec, *, aligned: bool) -> None:
        self._spec = spec
        self._shape = spec.shape
        self._dtype = numpy_dtype(spec.dtype)
        self._alignment = ALIGNMENT if aligned else self._dtype.itemsize
        #: An aligned place for arrays that don't lie as TVM needs them; made when first needed.
        self._staging: tuple[Any, np.ndarray] | None = None

    def tensor(self, array: np.ndarray) -> Any:
        """A tensor over the array's own memory where that can be, or over a copy.

        The copy is overwritten by the next one.

        Raises:
            InputError: the array is not of the input's shape and dtype.
        """
        if (
            not isinstance(array, np.ndarray)
            or array.shape != self._shape
            or array.dtype != self._dtype
        ):
            check_array(array, self._spec)
        tensor = in_place(array, self._alignment)
        return self._staged(array) if tensor is None else tensor

    def _staged(self, array: np.ndarray) -> Any:
        if self._staging is None:
            tensor = empty(self._shape, self._spec.dtype)
            self._staging = tensor, as_array(tensor, self._dtype)
        tensor, place = self._staging
        place[...] = array
        return tensor
