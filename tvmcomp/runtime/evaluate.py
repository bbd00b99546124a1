"""How well an artifact does a task: labelled samples in, the metric beside the float network's."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import msgspec
import numpy as np

from tvmcomp import arguments
from tvmcomp.dtypes import numpy_dtype
from tvmcomp.errors import InputError
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.runtime.arrays import read_npz
from tvmcomp.runtime.inputs import describe
from tvmcomp.runtime.session import Session

Metric = Literal["top1", "top5", "agreement", "sqnr", "cosine"]
METRICS: tuple[Metric, ...] = get_args(Metric)
#: Against labels; the others are against the float network's outputs.
LABELLED: tuple[Metric, ...] = ("top1", "top5")
#: About the order of class scores.
RANKED: tuple[Metric, ...] = ("top1", "top5", "agreement")
UNITS: dict[Metric, str] = {"top1": "%", "top5": "%", "agreement": "%", "sqnr": "dB", "cosine": ""}

_LABEL = "label"


@dataclass(frozen=True)
class Dataset:
    """Samples, each of exactly the network's input shapes.

    Attributes:
        inputs: input name -> (N, *input shape).
        labels: (N,) integers, or None.
    """

    inputs: Mapping[str, np.ndarray]
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        for index in range(len(self)):
            yield {name: array[index] for name, array in self.inputs.items()}


class Evaluation(msgspec.Struct, frozen=True):
    """The result.

    Attributes:
        metric: what was measured, on ``output``.
        unit: of the values: ``%``, ``dB`` or none.
        samples: how many.
        value: the artifact's.
        float_value: the float network's, for a metric against labels; None where there was none.
        difference: ``value - float_value``; points, for percentages.
    """

    metric: Metric
    output: str
    unit: str
    samples: int
    value: float
    float_value: float | None = None
    difference: float | None = None


def read_dataset(path: str | bytes | os.PathLike[str], signature: Signature) -> Dataset:
    """Read an ``.npz`` with an array for each input, and ``label`` if there are labels.

    An array has a leading sample axis before the input's shape. An input of batch size 1 may be
    given without that 1: (N, 3, 224, 224) for (1, 3, 224, 224).

    Raises:
        InputError: the file can't be read, or an array is missing or of another shape or dtype.
    """
    path = arguments.path(path, "data")
    arrays = read_npz(path)
    labels = arrays.pop(_LABEL, None) if _LABEL not in _names(signature) else None
    missing = sorted(_names(signature) - set(arrays))
    unknown = sorted(set(arrays) - _names(signature))
    if missing or unknown:
        raise InputError(
            f"has the arrays {sorted(arrays)}; missing: {missing}, not an input: {unknown}",
            where=str(path),
            hint="The network takes "
            + ", ".join(map(describe, signature.inputs))
            + f"; add `{_LABEL}` for labels.",
        )
    inputs = {
        spec.name: _with_sample_axis(arrays[spec.name], spec, str(path))
        for spec in signature.inputs
    }
    counts = {name: len(array) for name, array in inputs.items()}
    if labels is not None:
        counts[_LABEL] = len(labels) if labels.ndim else 0
    if len(set(counts.values())) > 1 or not all(counts.values()):
        raise InputError(
            f"the arrays must have the same number of samples, at least one: {counts}",
            where=str(path),
        )
    if labels is not None and (labels.ndim != 1 or labels.dtype.kind not in "iu"):
        raise InputError(
            f"`{_LABEL}` is {labels.dtype}{list(labels.shape)}, not one integer a sample",
            where=str(path),
        )
    return Dataset(inputs, labels)


def evaluate(
    session: Session,
    dataset: Dataset,
    metric: Metric,
    float_session: Session | None = None,
    *,
    output: str | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Evaluation:
    """Run every sample and compute ``metric``.

    Args:
        session: the artifact.
        dataset: from :func:`read_dataset`.
        metric: one of :data:`METRICS`.
        float_session: the float network, needed for metrics that are not against labels.
        output: name of the output to judge; None is the first.
        progress: wraps the iteration over the samples.

    Raises:
        InputError: labels, the float network or the output are missing for this metric.
    """
    names = [spec.name for spec in session.signature.outputs]
    chosen = names[0] if output is None else output
    if chosen not in names:
        raise InputError(f"there is no output {chosen!r}", hint=f"The outputs: {names}.")
    if metric in LABELLED and dataset.labels is None:
        raise InputError(
            f"the metric {metric} needs labels",
            hint=f"Add an array `{_LABEL}` of one integer a sample, "
            "or choose agreement, sqnr or cosine, which compare with the float network.",
        )
    if metric not in LABELLED and float_session is None:
        raise InputError(
            f"the metric {metric} compares with the float network, and there is none",
            hint="Name it with --float FLOAT.tvmc or --float MODEL.onnx.",
        )
    shape = session.signature.outputs[names.index(chosen)].shape
    if metric in RANKED and math.prod(shape[:-1]) != 1:
        raise InputError(
            f"the metric {metric} needs one row of class scores a sample; the output {chosen!r} "
            f"has shape {list(shape)}",
            hint=f"Choose another with --output ({names}), or another metric.",
        )
    given, reference = [], []
    samples = iter(dataset)
    for _ in progress(range(len(dataset))):
        sample = next(samples)
        given.append(_as_float(session.run(sample)[chosen]))
        if float_session is not None:
            reference.append(_as_float(float_session.run(sample)[chosen]))
    unit = UNITS[metric]
    if metric in LABELLED:
        assert dataset.labels is not None
        rank = 1 if metric == "top1" else 5
        value = _accuracy(given, dataset.labels, rank)
        if float_session is None:
            return Evaluation(metric, chosen, unit, len(dataset), value)
        float_value = _accuracy(reference, dataset.labels, rank)
        return Evaluation(
            metric, chosen, unit, len(dataset), value, float_value, value - float_value
        )
    against: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "agreement": _agreement,
        "sqnr": _sqnr,
        "cosine": _cosine,
    }
    value = against[metric](np.stack(given), np.stack(reference))
    return Evaluation(metric, chosen, unit, len(dataset), value)


def _accuracy(outputs: list[np.ndarray], labels: np.ndarray, rank: int) -> float:
    """Percentage of samples whose label is among the ``rank`` largest scores."""
    scores = np.stack(outputs)
    classes = scores.shape[1]
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(
            f"labels go from {labels.min()} to {labels.max()}, the output has {classes} classes"
        )
    best = np.argsort(-scores, axis=1, kind="stable")[:, :rank]
    return 100.0 * float(np.mean(np.any(best == labels[:, None], axis=1)))


def _agreement(given: np.ndarray, reference: np.ndarray) -> float:
    return 100.0 * float(np.mean(given.argmax(axis=1) == reference.argmax(axis=1)))


def _sqnr(given: np.ndarray, reference: np.ndarray) -> float:
    """Signal-to-quantization-noise ratio over all samples, in dB."""
    noise = float(np.sum((given - reference) ** 2))
    signal = float(np.sum(reference**2))
    if noise == 0:
        return float("inf")
    return 10 * float(np.log10(signal / noise)) if signal else float("-inf")


def _cosine(given: np.ndarray, reference: np.ndarray) -> float:
    """Mean over the samples of the cosine similarity."""
    dots = np.sum(given * reference, axis=1)
    norms = np.linalg.norm(given, axis=1) * np.linalg.norm(reference, axis=1)
    return float(np.mean(np.where(norms > 0, dots / np.maximum(norms, 1e-300), 1.0)))


def _as_float(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64).reshape(-1)


def _names(signature: Signature) -> set[str]:
    return {spec.name for spec in signature.inputs}


def _with_sample_axis(array: np.ndarray, spec: TensorSpec, where: str) -> np.ndarray:
    if array.dtype != numpy_dtype(spec.dtype):
        raise InputError(
            f"{spec.name!r} is {array.dtype}, the network takes {spec.dtype}",
            where=where,
            hint=f"Convert it with .astype({spec.dtype!r}).",
        )
    if array.shape[1:] == spec.shape and array.ndim:
        return array
    if spec.shape[:1] == (1,) and array.ndim and array.shape[1:] == spec.shape[1:]:
        return array[:, None]
    raise InputError(
        f"{spec.name!r} has shape {list(array.shape)}; expected a sample axis before "
        f"{list(spec.shape)}",
        where=where,
    )
