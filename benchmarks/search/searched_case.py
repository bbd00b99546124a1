"""A trained network as a search is given it: samples to fit by, and labelled ones to judge by."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.accuracy.cases import Arrays
from benchmarks.compress import networks
from benchmarks.kinds import catalogue as kinds
from benchmarks.kinds import data as kinds_data
from benchmarks.zoo import data as zoo_data


class SearchedCase(NamedTuple):
    """What a search is given."""

    model: Path
    shapes: dict[str, tuple[int, ...]]
    calibration: list[Arrays]
    evaluation: Arrays


def load(name: str, limit: int | None) -> SearchedCase:
    """A network of :mod:`benchmarks.compress.networks`.

    Args:
        name: of it.
        limit: judge by so many samples at most.
    """
    case = networks.load(name, limit)
    labels = _labels(name, case.model, limit)
    evaluation = {**case.inputs, **({} if labels is None else {"label": labels})}
    return SearchedCase(case.model, case.shapes, case.calibration, evaluation)


def _labels(name: str, model: Path, limit: int | None) -> np.ndarray | None:
    if name == "example":
        with np.load(model.parent / "test.npz") as file:
            return np.asarray(file["label"][:limit])
    if name in kinds.KINDS:
        targets = [*kinds_data.split(name).evaluation.targets.values()]
        classes = len(targets) == 1 and targets[0].ndim == 1 and targets[0].dtype.kind in "iu"
        labels = targets[0] if classes else None
    else:
        labels = zoo_data.load(name)[1].labels
    return None if labels is None else np.asarray(labels[:limit], np.int64)
