"""How well an artifact does a task: labelled samples in, the metric beside the float network's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np

from tvmcomp import arguments
from tvmcomp.dtypes import numpy_dtype
from tvmcomp.errors import InputError
from tvmcomp.intervals import bootstrap, paired_difference, wilson
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.runtime.arrays import read_npz
from tvmcomp.runtime.inputs import describe
from tvmcomp.runtime.metrics import (
    LABELLED,
    METRICS,
    RANKED,
    RANKS,
    UNITS,
    Metric,
    agrees,
    cosines,
    decibels,
    hits,
    is_ranked,
    noise_and_signal,
)
from tvmcomp.runtime.session import Session

__all__ = ["METRICS", "Dataset", "Evaluation", "Metric", "evaluate", "read_dataset"]

_LABEL = "label"
#: Names of the array of labels, of which the first is the documented one.
LABEL_NAMES = (_LABEL, "labels")


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
        low, high: where it lies with 95% confidence.
        float_value: the float network's, for a metric against labels; None where there was none.
        difference: ``value - float_value``; points, for percentages.
        difference_low, difference_high: where that lies with 95% confidence.
    """

    metric: Metric
    output: str
    unit: str
    samples: int
    value: float
    low: float
    high: float
    float_value: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None


def read_dataset(
    source: str | bytes | os.PathLike[str] | Mapping[str, np.ndarray], signature: Signature
) -> Dataset:
    """Read an ``.npz`` with an array for each input, and ``label`` (or ``labels``) if there are
    labels; or take such arrays by name.

    An array has a leading sample axis before the input's shape. An input of batch size 1 may be
    given without that 1: (N, 3, 224, 224) for (1, 3, 224, 224).

    Raises:
        InputError: the file can't be read, or an array is missing or of another shape or dtype.
    """
    if isinstance(source, Mapping):
        where = "the arrays given"
        arrays = {name: np.asarray(array) for name, array in source.items()}
    else:
        path = arguments.path(source, "data")
        where, arrays = str(path), read_npz(path)
    named = [n for n in LABEL_NAMES if n in arrays and n not in _names(signature)]
    labels = arrays.pop(named[0]) if named else None
    missing = sorted(_names(signature) - set(arrays))
    unknown = sorted(set(arrays) - _names(signature))
    if missing or unknown:
        said = [f"has the arrays {', '.join(sorted(arrays)) or 'of no input'}"]
        said += [f"there is no {', '.join(missing)}"] if missing else []
        said += [f"no input is called {', '.join(unknown)}"] if unknown else []
        raise InputError(
            "; ".join(said),
            where=where,
            hint="The network takes "
            + ", ".join(map(describe, signature.inputs))
            + f"; add `{_LABEL}` for labels.",
        )
    inputs = {
        spec.name: _with_sample_axis(arrays[spec.name], spec, where) for spec in signature.inputs
    }
    counts = {name: len(array) for name, array in inputs.items()}
    if labels is not None:
        counts[_LABEL] = len(labels) if labels.ndim else 0
    if len(set(counts.values())) > 1 or not all(counts.values()):
        raise InputError(
            f"the arrays must have the same number of samples, at least one: {counts}",
            where=where,
        )
    if labels is not None and (labels.ndim != 1 or labels.dtype.kind not in "iu"):
        raise InputError(
            f"`{_LABEL}` is {labels.dtype}{list(labels.shape)}, not one integer a sample",
            where=where,
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
    if metric in RANKED and not is_ranked(shape):
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
    scores = np.stack(given)
    beside = np.stack(reference) if reference else None
    if metric in LABELLED:
        assert dataset.labels is not None
        return _against_labels(metric, chosen, dataset.labels, scores, beside)
    assert beside is not None
    if metric == "agreement":
        return _share(metric, chosen, agrees(scores, beside))
    if metric == "sqnr":
        energies = noise_and_signal(scores, beside)
        return _figure(metric, chosen, energies, lambda rows: decibels(*rows.sum(axis=0)))
    return _figure(metric, chosen, cosines(scores, beside), lambda rows: float(np.mean(rows)))


def _against_labels(
    metric: Metric, output: str, labels: np.ndarray, scores: np.ndarray, beside: np.ndarray | None
) -> Evaluation:
    """Of scores ``(N, classes)``, and of those of the float network."""
    right = hits(scores, labels, RANKS[metric])
    found = _share(metric, output, right)
    if beside is None:
        return found
    float_right = hits(beside, labels, RANKS[metric])
    float_value = _percentage(float_right)
    low, high = paired_difference(right, float_right)
    return msgspec.structs.replace(
        found,
        float_value=float_value,
        difference=found.value - float_value,
        difference_low=100 * low,
        difference_high=100 * high,
    )


def _share(metric: Metric, output: str, right: np.ndarray) -> Evaluation:
    """Of ``(N,)`` bool: what is true of each sample."""
    low, high = wilson(float(np.mean(right)), len(right))
    value = _percentage(right)
    return Evaluation(metric, output, UNITS[metric], len(right), value, 100 * low, 100 * high)


def _figure(
    metric: Metric, output: str, rows: np.ndarray, figure: Callable[[np.ndarray], float]
) -> Evaluation:
    """Of a row a sample, of which ``figure`` makes one number."""
    return Evaluation(
        metric, output, UNITS[metric], len(rows), figure(rows), *bootstrap(rows, figure)
    )


def _percentage(shares: np.ndarray) -> float:
    return 100.0 * float(np.mean(shares))


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
