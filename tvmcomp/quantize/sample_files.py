"""Calibration data in files: .npy, .npz and images, read sample by sample."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from tvmcomp.errors import CalibrationError
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.npy_header import read_header
from tvmcomp.quantize.images import Preprocess, load_image
from tvmcomp.quantize.sample_check import check_dtype, check_names, convert, sample_count

Sample = dict[str, np.ndarray]

#: An .npz that unpacks to more is refused: a few megabytes of zip can claim terabytes.
MAX_UNPACKED_BYTES = 64 << 30
#: An array in Fortran order has its samples interleaved, so it is read as a whole.
_MAX_FORTRAN_BYTES = 1 << 30


class SampleFile(Protocol):
    """A file that holds samples."""

    def count(self) -> int:
        """How many samples it holds, from its headers only."""

    def read(self, wanted: Sequence[int]) -> Iterator[Sample]:
        """The samples of these indices, ascending, checked and converted to the inputs' types."""


class ImageFile:
    """One image, one sample."""

    def __init__(self, path: Path, preprocess: Preprocess, signature: Signature) -> None:
        self._path, self._preprocess = path, preprocess
        (self._spec,) = signature.inputs

    def count(self) -> int:
        """See :class:`SampleFile`."""
        return 1

    def read(self, wanted: Sequence[int]) -> Iterator[Sample]:
        """See :class:`SampleFile`."""
        for _ in wanted:
            yield {self._spec.name: load_image(self._path, self._preprocess, self._spec)}


class ArrayFile:
    """An .npz with an array for each input, or an .npy of a network with a single input."""

    def __init__(self, path: Path, signature: Signature, ignored: Collection[str] = ()) -> None:
        self._path, self._signature = path, signature
        self._ignored = frozenset(ignored) - {spec.name for spec in signature.inputs}

    def count(self) -> int:
        """See :class:`SampleFile`."""
        with self._open() as arrays:
            counts = {array.spec.name: array.count for array in arrays}
        if len(set(counts.values())) > 1:
            raise CalibrationError(
                "the inputs have different numbers of samples: "
                + ", ".join(f"{name} {count}" for name, count in counts.items()),
                where=str(self._path),
            )
        return next(iter(counts.values()))

    def read(self, wanted: Sequence[int]) -> Iterator[Sample]:
        """See :class:`SampleFile`."""
        with self._open() as arrays:
            for index in wanted:
                yield {array.spec.name: array.read(index) for array in arrays}

    @contextmanager
    def _open(self) -> Iterator[list[_ArrayStream]]:
        """A stream for each input, in the signature's order."""
        path, specs = self._path, self._signature.inputs
        try:
            with ExitStack() as stack:
                if path.suffix.lower() == ".npy":
                    check_single_input(self._signature, str(path))
                    handle = stack.enter_context(path.open("rb"))
                    yield [_ArrayStream(handle, specs[0], str(path))]
                    return
                archive = stack.enter_context(zipfile.ZipFile(path))
                members = {name.removesuffix(".npy"): name for name in archive.namelist()}
                check_names(members.keys() - self._ignored, self._signature, str(path))
                if sum(info.file_size for info in archive.infolist()) > MAX_UNPACKED_BYTES:
                    raise CalibrationError(
                        f"it unpacks to more than {MAX_UNPACKED_BYTES >> 30} GiB", where=str(path)
                    )
                yield [
                    _ArrayStream(
                        stack.enter_context(archive.open(members[spec.name])),
                        spec,
                        f"{path}, input {spec.name!r}",
                    )
                    for spec in specs
                ]
        # What zipfile raises for damage, unknown compression and encryption, in this order.
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as e:
            raise CalibrationError(
                f"not a readable .npz file: {e}", where=str(path), hint="Write it with numpy.savez."
            ) from e
        except OSError as error:
            raise CalibrationError(
                f"can't be read: {error.strerror or error}", where=str(path)
            ) from error


class _ArrayStream:
    """One .npy array in an open file; its samples lie one after the other."""

    def __init__(self, handle: IO[bytes], spec: TensorSpec, where: str) -> None:
        self._handle, self.spec, self._where = handle, spec, where
        try:
            shape, fortran_order, self._dtype = read_header(handle)
        except ValueError as error:
            raise CalibrationError(f"not a readable .npy array: {error}", where=where) from error
        check_dtype(self._dtype, spec, where)
        self.count = sample_count(shape, spec, where)
        self._start = handle.tell()
        if fortran_order and len(shape) > 1:
            self._reorder(shape)

    def read(self, index: int) -> np.ndarray:
        """Sample ``index``, in the input's shape and dtype."""
        where = f"{self._where}, sample {index}"
        size = math.prod(self.spec.shape) * self._dtype.itemsize
        self._handle.seek(self._start + index * size)
        data = self._handle.read(size)
        if len(data) != size:
            raise CalibrationError("the file ends in the middle of the array", where=where)
        return convert(np.frombuffer(data, self._dtype).reshape(self.spec.shape), self.spec, where)

    def _reorder(self, shape: tuple[int, ...]) -> None:
        size = math.prod(shape) * self._dtype.itemsize
        if size > _MAX_FORTRAN_BYTES:
            raise CalibrationError(
                f"an array in Fortran order of more than {_MAX_FORTRAN_BYTES >> 30} GiB",
                where=self._where,
                hint="Save numpy.ascontiguousarray(array) instead.",
            )
        data = self._handle.read(size)
        if len(data) != size:
            raise CalibrationError("the file ends in the middle of the array", where=self._where)
        array = np.frombuffer(data, self._dtype).reshape(shape, order="F")
        self._handle, self._start = io.BytesIO(array.tobytes(order="C")), 0


def check_single_input(signature: Signature, where: str) -> None:
    """Check that the network has one input, as files without names need.

    Raises:
        CalibrationError: it has none or several.
    """
    if len(signature.inputs) != 1:
        names = ", ".join(spec.name for spec in signature.inputs)
        raise CalibrationError(
            f"the network has {len(signature.inputs)} inputs, and the file does not name one",
            where=where,
            hint=f"Give .npz files with the arrays {names}.",
        )
