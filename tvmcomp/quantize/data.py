"""Calibration data: from Python or from files, checked, iterable as often as needed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from tvmcomp.errors import CalibrationError
from tvmcomp.model import Signature
from tvmcomp.quantize import images
from tvmcomp.quantize.images import Preprocess
from tvmcomp.quantize.sample_check import check_dtype, check_names, convert, sample_count
from tvmcomp.quantize.sample_files import (
    ArrayFile,
    ImageFile,
    Sample,
    SampleFile,
    check_single_input,
)

#: Samples are kept in memory up to this size; beyond it files are read again on each pass.
KEEP_BYTES = 1 << 30

ARRAY_SUFFIXES = (".npy", ".npz")


class Samples:
    """Checked calibration samples. Iterating gives each as ``{input name: array}``.

    Every array has exactly the input's shape and dtype and holds no NaN or Inf.

    Attributes:
        source: where they come from, for a person.
        digest: SHA-256 over names, dtypes, shapes and values, in hexadecimal. The same samples
            have the same digest whether they come from Python or from a file.
        warnings: what is suspicious about them, one sentence each.
    """

    def __init__(self, source: str, read: Callable[[], Iterator[Sample]], reread: bool) -> None:
        """Read all samples once; ``reread`` says that ``read`` works more than once."""
        self.source = source
        self._read = read
        self._kept: list[Sample] | None = []
        self._count = 0
        digest = hashlib.sha256()
        kept_bytes = 0
        distinct: set[bytes] = set()
        ranges: dict[str, tuple[float, float]] = {}
        for sample in read():
            self._count += 1
            sample_digest = _sample_digest(sample)
            digest.update(sample_digest)
            distinct.add(sample_digest)
            for name, array in sample.items():
                if array.dtype.kind == "f" and array.size:  # constant masks and ids are usual
                    lo, hi = ranges.get(name, (np.inf, -np.inf))
                    ranges[name] = min(lo, float(array.min())), max(hi, float(array.max()))
            kept_bytes += sum(array.nbytes for array in sample.values())
            if kept_bytes > KEEP_BYTES and not reread:
                raise CalibrationError(
                    f"the samples take more than {KEEP_BYTES >> 20} MiB of memory",
                    where=source,
                    hint="Give fewer (some hundred are plenty), or a path to .npz files.",
                )
            if kept_bytes > KEEP_BYTES:
                self._kept = None
            if self._kept is not None:
                self._kept.append(sample)
        if not self._count:
            raise CalibrationError(
                "there are no samples",
                where=source,
                hint="Give some hundred samples of what the network will see in use.",
            )
        self.digest = digest.hexdigest()
        self.warnings = tuple(_suspicions(self._count, len(distinct), ranges))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Sample]:
        return self._read() if self._kept is None else iter(self._kept)


def load_samples(
    source: str | os.PathLike[str] | Iterable[Mapping[str, Any]],
    signature: Signature,
    preprocess: Preprocess | None = None,
    max_samples: int | None = None,
    *,
    ignored: Collection[str] = (),
) -> Samples:
    """Calibration samples for the inputs of ``signature``.

    Args:
        source: an iterable of ``{input name: array}`` (a generator too), or a path to an .npz
            file, an .npy file (single input), an image, or a folder of such files, searched with
            its subfolders. Arrays may hold several samples: see
            :func:`tvmcomp.quantize.sample_check.sample_count`.
        signature: the network's inputs; their names, shapes and dtypes are what is checked.
        preprocess: how images become inputs; needed for images.
        max_samples: at most so many are used: evenly spaced over a path's samples (classes often
            lie in folders, one after the other), the first ones of an iterable.
        ignored: arrays that an .npz may hold beside those of the inputs.

    Raises:
        CalibrationError: there are none, or one does not fit the network.
    """
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        files = _sample_files(path, signature, preprocess, ignored)
        chosen = _choose([file.count() for file in files], max_samples)

        def read_files() -> Iterator[Sample]:
            return chain.from_iterable(
                file.read(indices) for file, indices in zip(files, chosen, strict=True)
            )

        return Samples(str(path), read_files, reread=True)

    def read_iterable() -> Iterator[Sample]:
        return islice(_from_python(source, signature), max_samples)

    return Samples("Python samples", read_iterable, reread=False)


def _from_python(source: Iterable[Mapping[str, Any]], signature: Signature) -> Iterator[Sample]:
    """The samples of a Python iterable, checked and copied (a generator may reuse its arrays)."""
    if isinstance(source, Mapping) or not isinstance(source, Iterable):
        raise CalibrationError(
            f"calibration data is a {type(source).__name__}, not an iterable of samples",
            hint="Give a list of {input name: array}, or a path.",
        )
    for position, given in enumerate(source):
        where = f"calibration sample {position}"
        if not isinstance(given, Mapping):
            raise CalibrationError(
                f"a {type(given).__name__}, not a dict of arrays",
                where=where,
                hint=f"Give {{{signature.inputs[0].name!r}: array, …}}.",
            )
        check_names(given, signature, where)
        batches: dict[str, list[np.ndarray]] = {}
        for spec in signature.inputs:
            place = f"{where}, input {spec.name!r}"
            try:
                array = np.asarray(given[spec.name])
            except (ValueError, TypeError, RuntimeError) as error:  # ragged lists, GPU tensors
                raise CalibrationError(f"not an array: {error}", where=place) from error
            check_dtype(array.dtype, spec, place)
            count = sample_count(array.shape, spec, place)
            array = array.reshape((count, *spec.shape))
            batches[spec.name] = [convert(row, spec, place) for row in array]
        if len({len(batch) for batch in batches.values()}) > 1:
            raise CalibrationError("the inputs have different numbers of samples", where=where)
        for rows in zip(*batches.values(), strict=True):
            yield dict(zip(batches, rows, strict=True))


def _sample_files(
    path: Path, signature: Signature, preprocess: Preprocess | None, ignored: Collection[str]
) -> list[SampleFile]:
    """The files at ``path``, ordered by name."""
    if not path.exists():
        raise CalibrationError("no such file or folder", where=str(path))
    found = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    # Names with a leading dot are the system's (macOS writes ._photo.jpg beside photo.jpg).
    found = [p for p in found if not p.name.startswith(".") or p == path]
    arrays = [p for p in found if p.suffix.lower() in ARRAY_SUFFIXES]
    pictures = [p for p in found if p.suffix.lower() in images.SUFFIXES]
    if arrays and pictures:
        raise CalibrationError(
            f"both arrays ({arrays[0].name}) and images ({pictures[0].name})",
            where=str(path),
            hint="Keep one kind in a folder.",
        )
    if arrays:
        return [ArrayFile(p, signature, ignored) for p in arrays]
    if not pictures:
        raise CalibrationError(
            "there are no samples" if path.is_dir() else f"unknown kind of file {path.suffix!r}",
            where=str(path),
            hint=f"Known are {', '.join((*ARRAY_SUFFIXES, *images.SUFFIXES))}.",
        )
    check_single_input(signature, str(path))
    if preprocess is None:
        raise CalibrationError(
            "images need their preprocessing declared",
            where=str(path),
            hint="Write what the network was trained with into a quantization config, e.g.\n\n"
            + images.EXAMPLE,
        )
    return [ImageFile(p, preprocess, signature) for p in pictures]


def _choose(counts: list[int], max_samples: int | None) -> list[list[int]]:
    """For each file, which of its samples to use: all, or ``max_samples`` evenly spaced."""
    total = sum(counts)
    used = total if max_samples is None else min(total, max_samples)
    # Strictly ascending, as total >= used.
    wanted = np.arange(used) * total // max(used, 1)
    ends = np.cumsum(counts)
    parts = np.split(wanted, np.searchsorted(wanted, ends[:-1]))
    return [
        (part - (end - count)).tolist()
        for part, count, end in zip(parts, counts, ends, strict=True)
    ]


def _sample_digest(sample: Sample) -> bytes:
    digest = hashlib.sha256()
    for name, array in sample.items():
        digest.update(f"{name}\0{array.dtype.name}\0{array.shape}\0".encode())
        digest.update(array.data)
    return digest.digest()


def _suspicions(count: int, distinct: int, ranges: dict[str, tuple[float, float]]) -> Iterator[str]:
    if count > 1 and distinct == 1:
        yield f"All {count} calibration samples are identical."
    for name, (lo, hi) in ranges.items():
        if lo == hi:
            yield f"Input {name!r} is the constant {lo:g} in all calibration samples."
