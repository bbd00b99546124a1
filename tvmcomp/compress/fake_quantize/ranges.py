"""The ranges of activations, observed on samples."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.fake_quantize.samples_at_once import run_samples
from tvmcomp.compress.samples import Sample
from tvmcomp.errors import CalibrationError
from tvmcomp.qparams import QParams, activation_qparams
from tvmcomp.quantize.observers import OBSERVERS


def observe_ranges(
    model: onnx.ModelProto, samples: Sequence[Sample], tensors: Sequence[str], observer: str
) -> dict[str, QParams]:
    """The uint8 parameters of each of ``tensors`` of the float ``model``, by an observer's name.

    Raises:
        CalibrationError: a tensor became NaN, or nothing finite was seen of it.
    """
    observers = {tensor: OBSERVERS[observer]() for tensor in tensors}
    if not tensors:
        return {}
    for values in run_samples(BatchedNetwork(model, samples), samples, tensors):
        for tensor, watching in observers.items():
            try:
                watching.observe(values[tensor].numpy())
            except CalibrationError as error:
                raise CalibrationError(
                    error.what,
                    where=f"the tensor {tensor!r}",
                    hint="Check the samples: is their preprocessing the network's?",
                ) from None
    return {tensor: _parameters(*watching.range()) for tensor, watching in observers.items()}


def _parameters(low: float, high: float) -> QParams:
    """Of a tensor that was 0 in all samples nothing is known; a step of 1, as of integers, would
    be one of the bias behind it too."""
    return activation_qparams(low, high if high > low else 1.0, "uint8")
