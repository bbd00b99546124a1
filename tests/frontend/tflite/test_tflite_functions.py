"""Functions of one number on 8 and 16 bits: LiteRT's integer for every integer that goes in."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integer_cases import check_same_integers, scaled, zero_of
from litert import Arrays, litert
from tflite_models import Graph, Op, Tensor, constant, model

import tvmcomp

BYTES = ("HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "PRELU", "RELU6", "RELU_N1_TO_1", "TANH")
INT8 = (*BYTES, "ABS", "ELU", "EXP", "LOG", "NEG", "RSQRT", "SQRT")
INT16 = ("ABS", "EXP", "GELU", "LEAKY_RELU", "LOG", "LOGISTIC", "NEG", "PRELU", "RELU6", "RSQRT",
         "SQRT", "TANH")  # fmt: skip
KINDS = [
    (kind, dtype)
    for dtype, kinds in (("int8", INT8), ("uint8", BYTES), ("int16", INT16))
    for kind in kinds
]


def case(kind: str, dtype: str, rng: np.random.Generator) -> tuple[Graph, Arrays]:
    """A network of the one operator, and all integers that it takes."""
    limits = np.iinfo(dtype)
    finer = 256 if dtype == "int16" else 1
    scale, step = (scaled(rng, 0.01, 0.3) / finer for _ in range(2))
    own, zero, low = zero_of(rng, dtype), zero_of(rng, dtype), limits.min
    name, fields, constants = "", {}, []
    if kind in ("LOGISTIC", "TANH"):
        step = 1 / (32768 if dtype == "int16" else 256 if kind == "LOGISTIC" else 128)
        zero = {"int8": -128, "uint8": 0, "int16": 0}[dtype]
        zero += 128 * (kind == "TANH" and dtype != "int16")
    elif kind == "EXP":
        step = np.exp(min((limits.max - own) * scale, 8)) / rng.uniform(50, 300) / finer
    elif kind == "GELU":
        name, fields = "GeluOptions", {"Approximate": bool(rng.random() < 0.5)}
    elif kind == "HARD_SWISH":
        step = scale * rng.uniform(0.3, 2)
    elif kind == "LEAKY_RELU":
        name, fields = "LeakyReluOptions", {"Alpha": float(rng.uniform(-1, 2))}
    elif kind == "PRELU":
        held = rng.integers(0, 256, 8).astype("uint8").view("uint8" if dtype == "uint8" else "int8")
        place = 0 if dtype == "int16" else zero_of(rng, dtype)
        constants = [constant("alpha", held, scale=scaled(rng, 0.001, 0.01), zero=place)]
    elif kind in ("LOG", "RSQRT", "SQRT"):
        own = 0 if dtype == "int16" else limits.min
        low = own + (kind != "SQRT")
        most = {"LOG": 6, "SQRT": np.sqrt((limits.max - own) * scale), "RSQRT": 1 / np.sqrt(scale)}
        step = most[kind] / rng.uniform(50, 300) / finer
    data = np.resize(
        np.arange(low, limits.max + 1).astype(dtype), (-(low - limits.max - 1) // 8, 8)
    )
    tensors = [
        Tensor("x", data.shape, dtype, scale=float(np.float32(scale)), zero=own),
        *constants,
        Tensor("y", data.shape, dtype, scale=float(np.float32(step)), zero=zero),
    ]
    op = Op(kind, ["x", *(each.name for each in constants)], ["y"], name, fields)
    return Graph(tensors, [op], ["x"], ["y"]), {"x": data}


@pytest.mark.parametrize("kind, dtype", KINDS)
def test_the_same_integers(tmp_path: Path, kind: str, dtype: str) -> None:
    check_same_integers(partial(case, kind, dtype), 12, tmp_path)


def compiled(path: Path, feeds: Arrays) -> Any:
    with tvmcomp.load(tvmcomp.build(path), threads=1) as session:
        (ours,) = session.run(feeds).values()
    return ours


@pytest.mark.parametrize(
    "kind, dtype", [("HARD_SWISH", "int8"), ("NEG", "int8"), ("GELU", "int16"), ("TANH", "int16")]
)
def test_the_same_integers_compiled(tmp_path: Path, kind: str, dtype: str) -> None:
    graph, feeds = case(kind, dtype, np.random.default_rng(3))
    path = tmp_path / "m.tflite"
    path.write_bytes(model(graph))
    np.testing.assert_array_equal(compiled(path, feeds), litert(path, feeds)[0])
