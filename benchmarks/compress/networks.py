"""The networks that compression is judged on: trained ones, with data that no choice depends on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.accuracy import cases
from benchmarks.accuracy.cases import Arrays, Case, one_by_one
from benchmarks.kinds import data as kinds_data
from benchmarks.zoo import data as zoo_data

_EXAMPLE = Path(__file__).parents[2] / "examples" / "mnist"
#: At most so many unlabelled samples are given to what compresses, and to what it is compared with,
#: where nobody says how many.
_MOST_SAMPLES = 1000
#: Networks whose samples are rendered, as many as are wanted, all different.
_RENDERED = ("orientation", "text-direction", "text-detector")


def names() -> list[str]:
    """Every network, the example first."""
    return ["example", *cases.names()]


def load(name: str, limit: int | None, samples: int | None = None) -> Case:
    """A network and its samples.

    Args:
        name: one of :func:`names`.
        limit: judge by so many samples at most.
        samples: unlabelled ones to give, of networks whose samples are rendered or whose training
            rows are at hand; None, and of other networks, are those that calibrate.
    """
    case = _example(limit) if name == "example" else cases.load(name, limit)
    if samples is not None and name in _RENDERED:
        return replace(case, calibration=_rendered(name, samples))
    if samples is not None and name in kinds_data.SOURCES:
        rows = kinds_data.split(name).train.take(slice(0, samples))
        return replace(case, calibration=one_by_one(rows.inputs))
    del case.calibration[_MOST_SAMPLES:]
    return case


def _rendered(name: str, count: int) -> list[Arrays]:
    made = [zoo_data.one_sample(name, zoo_data.CALIBRATION, index)[0] for index in range(count)]
    return one_by_one({key: np.stack([each[key] for each in made]) for key in made[0]})


def _example(limit: int | None) -> Case:
    with np.load(_EXAMPLE / "calib.npz", allow_pickle=False) as file:
        calibration = file["x"]
    with np.load(_EXAMPLE / "test.npz", allow_pickle=False) as file:
        inputs, labels = {"x": file["x"][:limit]}, file["label"][:limit]

    def judge(outputs: Arrays, reference: Arrays) -> dict[str, float]:
        (scores,) = outputs.values()
        return {"top1": 100 * float(np.mean(scores.argmax(-1) == labels))}

    return Case(
        "example",
        _EXAMPLE / "model.onnx",
        {"x": (1, *inputs["x"].shape[1:])},
        one_by_one({"x": calibration}),
        inputs,
        judge,
    )
