"""How near a network's results are to the float network's, and to the right answers where known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAP_THRESHOLD = 0.3  # rapidocr's own, for its detector


def classes(got: NDArray, expected: NDArray, labels: NDArray | None) -> dict[str, float]:
    """Judge scores (samples, classes): share of equal first choices, and of right ones if labelled.

    A label of -1 is an answer that is not known.
    """
    choice = got.argmax(axis=1)
    result = {"agreement": float(np.mean(choice == expected.argmax(axis=1)))}
    if labels is not None and (labels >= 0).any():
        known = labels >= 0
        result["accuracy"] = float(np.mean(choice[known] == labels[known]))
    return result


def text_maps(got: NDArray, expected: NDArray, labels: NDArray | None) -> dict[str, float]:
    """Judge maps (samples, 1, h, w) cut at 0.3: overlap over union, share of equal pixels."""
    mine, theirs = got > MAP_THRESHOLD, expected > MAP_THRESHOLD
    union = np.count_nonzero(mine | theirs)
    return {
        "iou": float(np.count_nonzero(mine & theirs) / union) if union else 1.0,
        "pixel_agreement": float(np.mean(mine == theirs)),
    }


def directions(got: NDArray, expected: NDArray, labels: NDArray | None) -> dict[str, float]:
    """Judge embeddings (samples, n): the cosine of the angle to the float embedding, mean and
    worst.
    """
    lengths = np.linalg.norm(got, axis=1) * np.linalg.norm(expected, axis=1)
    cosine = np.sum(got * expected, axis=1) / lengths
    return {"cosine_mean": float(cosine.mean()), "cosine_min": float(cosine.min())}
