"""The networks that are judged: the zoo's and the kinds', in one form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.kinds import catalogue as kinds
from benchmarks.kinds import data as kinds_data
from benchmarks.zoo import catalogue as zoo
from benchmarks.zoo import data as zoo_data

Arrays = dict[str, NDArray]

#: The zoo's networks, and which of a network's scores is its points.
ZOO_SCORES = {
    "efficientnet-lite0": "agreement",
    "orientation": "accuracy",
    "text-direction": "accuracy",
    "text-detector": "iou",
    "minilm-32": "cosine_mean",
}


@dataclass(frozen=True)
class Case:
    """A network and what is needed to judge a compiled form of it.

    Attributes:
        name: its name.
        model: its ONNX file.
        shapes: its inputs' full shapes.
        calibration: calibration samples, with the batch axis of 1.
        inputs: evaluation samples: input name -> (samples, ...).
        judge: (outputs, the float network's outputs) -> points by score; both output name ->
            (samples, ...).
    """

    name: str
    model: Path
    shapes: dict[str, tuple[int, ...]]
    calibration: list[Arrays]
    inputs: Arrays
    judge: Callable[[Arrays, Arrays], dict[str, float]]

    @property
    def samples(self) -> list[Arrays]:
        """The evaluation samples one by one, with the batch axis of 1."""
        return one_by_one(self.inputs)


def names() -> list[str]:
    """Every network that can be loaded."""
    return [*kinds.KINDS, *ZOO_SCORES]


def load(name: str, limit: int | None) -> Case:
    """A network and its samples, at most `limit` of them for evaluation."""
    return kind_case(name, limit) if name in kinds.KINDS else zoo_case(name, limit)


def kind_case(name: str, limit: int | None) -> Case:
    """One of the kinds."""
    split = kinds_data.split(name)
    evaluation = split.evaluation.take(slice(0, limit))

    def judge(outputs: Arrays, reference: Arrays) -> dict[str, float]:
        return kinds.judge(name, outputs, evaluation.targets)

    shapes = {key: (1, *array.shape[1:]) for key, array in evaluation.inputs.items()}
    calibration = one_by_one(split.calibration.inputs)
    return Case(name, kinds.fetch(name), shapes, calibration, evaluation.inputs, judge)


def zoo_case(name: str, limit: int | None) -> Case:
    """One of the zoo, judged by its first output."""
    network = zoo.NETWORKS[name]
    calibration, evaluation = zoo_data.load(name)
    labels = None if evaluation.labels is None else evaluation.labels[:limit]

    def judge(outputs: Arrays, reference: Arrays) -> dict[str, float]:
        first = next(iter(reference))
        scores = network.score(outputs[first], reference[first], labels)
        return {ZOO_SCORES[name]: 100 * scores[ZOO_SCORES[name]]}

    inputs = {key: array[:limit] for key, array in evaluation.inputs.items()}
    samples = one_by_one(calibration.inputs)
    return Case(name, zoo.fetch(name), network.inputs, samples, inputs, judge)


def one_by_one(inputs: Arrays) -> list[Arrays]:
    """Samples with a batch axis of 1, out of arrays with a leading sample axis."""
    count = len(next(iter(inputs.values())))
    return [{key: array[i : i + 1] for key, array in inputs.items()} for i in range(count)]


def gathered(outputs: list[Arrays]) -> Arrays:
    """Arrays with a leading sample axis, out of the outputs of single samples."""
    return {key: np.concatenate([row[key] for row in outputs]) for key in outputs[0]}
