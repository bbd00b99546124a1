"""What a sample scores, by each metric; what all of them score is a mean or a ratio of that.

Scores are arrays ``(N, values)`` of float64: a row a sample, its output flattened.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np

from tvmcomp.errors import InputError

Metric = Literal["top1", "top5", "agreement", "sqnr", "cosine"]
METRICS: tuple[Metric, ...] = get_args(Metric)
#: Against labels; the others are against the float network's outputs.
LABELLED: tuple[Metric, ...] = ("top1", "top5")
#: About the order of class scores.
RANKED: tuple[Metric, ...] = ("top1", "top5", "agreement")
UNITS: dict[Metric, str] = {"top1": "%", "top5": "%", "agreement": "%", "sqnr": "dB", "cosine": ""}
#: Among how many of the best scores the label has to be.
RANKS: dict[Metric, int] = {"top1": 1, "top5": 5}


def is_ranked(shape: tuple[int, ...]) -> bool:
    """Whether an output of ``shape`` is one row of class scores."""
    return bool(shape) and math.prod(shape[:-1]) == 1


def hits(scores: np.ndarray, labels: np.ndarray, rank: int) -> np.ndarray:
    """Whether each sample's label is among its ``rank`` largest scores: ``(N,)`` bool.

    Raises:
        InputError: a label is no class.
    """
    classes = scores.shape[1]
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(
            f"labels go from {labels.min()} to {labels.max()}, the output has {classes} classes"
        )
    best = np.argsort(-scores, axis=1, kind="stable")[:, :rank]
    return np.any(best == labels[:, None], axis=1)


def agrees(given: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Whether each sample's best score is the reference's: ``(N,)`` bool."""
    return given.argmax(axis=1) == reference.argmax(axis=1)


def noise_and_signal(given: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The energy of each sample's difference, and of its reference: ``(N, 2)``."""
    return np.stack([np.sum((given - reference) ** 2, axis=1), np.sum(reference**2, axis=1)], 1)


def decibels(noise: float, signal: float) -> float:
    """The ratio of the signal's energy to the noise's."""
    if noise == 0:
        return float("inf")
    return 10 * float(np.log10(signal / noise)) if signal else float("-inf")


def cosines(given: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The cosine similarity of each sample: ``(N,)``; 1 where one is all zeros."""
    dots = np.sum(given * reference, axis=1)
    norms = np.linalg.norm(given, axis=1) * np.linalg.norm(reference, axis=1)
    return np.where(norms > 0, dots / np.maximum(norms, 1e-300), 1.0)
