"""Fourier transforms and the complex numbers after them, against LiteRT's interpreter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from litert import agree, converted, litert
from tflite_models import Graph, Op, Tensor, constant, model

import tvmcomp
from tvmcomp.errors import ModelError

rng = np.random.default_rng(7)


def spectrum(shape: tuple[int, ...], lengths: tuple[int, int], ops: list[Op], ends: list[Tensor],
             moved: list[Tensor]) -> bytes:  # fmt: skip
    """A transform of data of `shape` called ``bins``, and what `ops` make of it."""
    bins = (*shape[:-2], lengths[0], lengths[1] // 2 + 1)
    tensors = [Tensor("x", shape), constant("lengths", np.array(lengths, "int32")),
               Tensor("bins", bins, "complex64"), *moved, *ends]  # fmt: skip
    held = [constant("axis", np.array(0, "int32")),
            constant("order", np.array([0, 2, 1], "int32"))]  # fmt: skip
    ops = [Op("RFFT2D", ["x", "lengths"], ["bins"], "Rfft2dOptions"), *ops]
    return model(Graph([*tensors, *held], ops, ["x"], [each.name for each in ends]))


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("shape, lengths", [
    ((2, 1, 16), (1, 16)), ((1, 16), (1, 32)), ((2, 1, 40), (1, 32)), ((3, 8, 16), (8, 16)),
    ((1, 9, 5), (4, 8)), ((2, 3, 8), (8, 8)), ((1, 1, 7), (1, 2)),
])  # fmt: skip
def test_transforms(tmp_path, shape, lengths):
    result = (*shape[:-2], lengths[0], lengths[1] // 2 + 1)
    ends = [Tensor(name, result) for name in ("real", "imag", "length", "cast")]
    ops = [
        Op("REAL", ["bins"], ["real"]), Op("IMAG", ["bins"], ["imag"]),
        Op("COMPLEX_ABS", ["bins"], ["length"]), Op("CAST", ["bins"], ["cast"], "CastOptions"),
    ]  # fmt: skip
    path = write(tmp_path, spectrum(shape, lengths, ops, ends, []))
    feeds = {"x": rng.normal(0, 1, shape).astype("float32")}
    agree(converted(path, feeds), litert(path, feeds))


def test_complex_numbers_are_moved(tmp_path):
    moved = [Tensor("a", (3, 1, 1, 9), "complex64"), Tensor("b", (3, 1, 9), "complex64"),
             Tensor("c", (1, 3, 1, 9), "complex64")]  # fmt: skip
    ops = [
        Op("RESHAPE", ["bins"], ["a"], "ReshapeOptions", {"NewShape": [3, 1, 1, 9]}),
        Op("SQUEEZE", ["a"], ["b"], "SqueezeOptions", {"SqueezeDims": [1]}),
        Op("EXPAND_DIMS", ["b", "axis"], ["c"], "ExpandDimsOptions"),
        Op("REAL", ["c"], ["real"]), Op("COMPLEX_ABS", ["b"], ["length"]),
    ]  # fmt: skip
    ends = [Tensor("real", (1, 3, 1, 9)), Tensor("length", (3, 1, 9))]
    path = write(tmp_path, spectrum((3, 1, 16), (1, 16), ops, ends, moved))
    feeds = {"x": rng.normal(0, 1, (3, 1, 16)).astype("float32")}
    agree(converted(path, feeds), litert(path, feeds))


@pytest.mark.parametrize("ops, lengths, said", [
    ([Op("EXP", ["bins"], ["y"], "ExpOptions")], (1, 16), "'bins', which is complex"),
    ([Op("REAL", ["x"], ["y"])], (1, 16), "'x' is not complex"),
    ([Op("REAL", ["bins"], ["y"])], (1, 1 << 20), "1 to 4,096 are supported"),
    ([Op("REAL", ["bins"], ["y"])], (0, 16), "1 to 4,096 are supported"),
])  # fmt: skip
def test_what_is_refused(tmp_path, ops, lengths, said):
    path = write(tmp_path, spectrum((1, 16), lengths, ops, [Tensor("y", (1, 9))], []))
    with pytest.raises(ModelError, match=said):
        tvmcomp.convert(path)
