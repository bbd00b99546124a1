"""The networks that compression is judged on: trained ones, with data that no choice depends on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.accuracy import cases
from benchmarks.accuracy.cases import Arrays, Case, one_by_one

_EXAMPLE = Path(__file__).parents[2] / "examples" / "mnist"
#: At most so many unlabelled samples are given to what compresses, and to what it is compared with.
MOST_SAMPLES = 1000


def names() -> list[str]:
    """Every network, the example first."""
    return ["example", *cases.names()]


def load(name: str, limit: int | None) -> Case:
    """A network and its samples.

    Args:
        name: one of :func:`names`.
        limit: judge by so many samples at most.
    """
    case = _example(limit) if name == "example" else cases.load(name, limit)
    del case.calibration[MOST_SAMPLES:]
    return case


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
