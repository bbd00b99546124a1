"""What a run is given to fit and to judge by: samples, their labels, and a labelled set apart."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvmcomp import arguments
from tvmcomp.compress.samples import Parts, Sample, divide
from tvmcomp.errors import InputError
from tvmcomp.model import Signature
from tvmcomp.quantize.data import load_samples
from tvmcomp.quantize.images import Preprocess
from tvmcomp.runtime.arrays import read_npy, read_npz
from tvmcomp.runtime.evaluate import LABEL_NAMES, Dataset, read_dataset
from tvmcomp.runtime.metrics import is_ranked

SampleSource = str | os.PathLike[str] | Iterable[Mapping[str, Any]]
#: As of :func:`tvmcomp.runtime.evaluate.read_dataset`.
Evaluation = str | os.PathLike[str] | Mapping[str, NDArray]
Labels = str | os.PathLike[str] | Sequence[Any] | NDArray


@dataclass(frozen=True)
class Data:
    """All that a run is given.

    Attributes:
        parts: the samples, divided.
        judge: what the result is judged on, which no choice depends on.
        labels: theirs, (N,) integers; None where there are none.
        judged_on: where they come from, for a person.
        digest: SHA-256 of all of it, in hexadecimal.
        notes: what is suspicious about it.
    """

    parts: Parts
    judge: list[Sample]
    labels: NDArray | None
    judged_on: str
    digest: str
    notes: tuple[str, ...]


def read_data(
    samples: SampleSource,
    signature: Signature,
    *,
    labels: Labels | None,
    evaluation: Evaluation | None,
    images: Preprocess | None,
    seed: int,
) -> Data:
    """Read and divide what is given.

    Args:
        samples: as of :func:`tvmcomp.quantize.data.load_samples`.
        signature: of the network.
        labels: one a sample, in their order: what :func:`read_labels` takes.
        evaluation: labelled or unlabelled samples to judge on, in place of a part of ``samples``:
            as of :func:`tvmcomp.runtime.evaluate.read_dataset`.
        images: how image files become samples.
        seed: of the division.

    Raises:
        CalibrationError, InputError: something does not fit the network or each other.
    """
    # A file of labelled samples may be given: `labels` says whether they are used.
    loaded = load_samples(samples, signature, images, ignored=LABEL_NAMES)
    known = None if labels is None else read_labels(labels, signature)
    parts = divide(
        loaded,
        seed,
        None if known is None else list(known),
        judged_elsewhere=evaluation is not None,
    )
    digest = hashlib.sha256(loaded.digest.encode())
    if known is not None:
        digest.update(np.ascontiguousarray(known).tobytes())
    if evaluation is None:
        judge, judge_labels = list(parts.judge), _classes(parts.judge_labels)
        judged_on = f"a part of {loaded.source} that nothing else used"
    else:
        dataset = read_dataset(evaluation, signature)
        _check_finite(dataset)
        judge, judge_labels = list(dataset), dataset.labels
        judged_on = "arrays that were given" if isinstance(evaluation, Mapping) else str(evaluation)
        for array in (*dataset.inputs.values(), *([] if judge_labels is None else [judge_labels])):
            digest.update(np.ascontiguousarray(array).tobytes())
    return Data(
        parts=parts,
        judge=judge,
        labels=judge_labels,
        judged_on=judged_on,
        digest=digest.hexdigest(),
        notes=(*loaded.warnings, *parts.notes),
    )


def read_labels(labels: Labels, signature: Signature) -> NDArray:
    """The labels of samples: whole numbers of classes, or values of the first output.

    Args:
        labels: an array with a leading axis of samples; or the path of an ``.npy`` file, or of an
            ``.npz`` file with an array ``label``.
        signature: of the network.

    Raises:
        InputError: the file can't be read, or they are no labels of this network.
    """
    where = "labels"
    if isinstance(labels, str | bytes | os.PathLike):
        path = arguments.path(labels, "labels")
        where = str(path)
        if path.suffix == ".npz":
            arrays = read_npz(path)
            named = [name for name in LABEL_NAMES if name in arrays]
            if not named:
                raise InputError(f"has no array {LABEL_NAMES[0]!r}", where=where)
            found = arrays[named[0]]
        else:
            found = read_npy(path)
    else:
        found = np.asarray(labels)
    shape = signature.outputs[0].shape
    if found.ndim == 1 and found.dtype.kind in "iu":
        if not is_ranked(shape):
            raise InputError(
                f"classes are no labels of {signature.outputs[0].name!r}, which is no row of "
                f"class scores but {list(shape)}",
                where=where,
            )
        if found.size and not (found.min() >= 0 and found.max() < shape[-1]):
            raise InputError(
                f"they go from {found.min()} to {found.max()}, the output has {shape[-1]} classes",
                where=where,
            )
        return found
    if found.dtype.kind != "f" or found.shape[1:] != shape:
        raise InputError(
            f"{found.dtype}{list(found.shape)} is neither one class a sample nor the first "
            f"output's values, float{['N', *shape]}".replace("'", ""),
            where=where,
        )
    if not np.isfinite(found).all():
        raise InputError("they hold NaN or Inf", where=where)
    return found


def _classes(labels: Sequence[NDArray] | None) -> NDArray | None:
    """The labels as one array, where they are classes."""
    if not labels or labels[0].dtype.kind not in "iu":
        return None
    return np.stack(labels)


def _check_finite(dataset: Dataset) -> None:
    for name, array in dataset.inputs.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(
                f"{name!r} holds NaN or Inf",
                where="the samples to judge on",
                hint="Mend the data or leave those samples out.",
            )
