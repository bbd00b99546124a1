"""Operators on 8 and 16 bits, of random scales and zero points: LiteRT's integers, every one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integer_cases import check_same_integers, scaled, zero_of
from litert import Arrays, converted, litert
from tflite_models import Graph, Op, Tensor, constant, model

import tvmcomp

Quantized = tuple[float, int]


def elementwise(kind: str, rng: np.random.Generator, sides: list[float]) -> tuple[Any, float]:
    """The options of an operator of two sides, and the scale of its result."""
    fused = int(rng.choice([0, 0, 1, 3]))
    if kind in ("ADD", "SUB"):
        return (kind, {"FusedActivationFunction": fused}), max(sides) * rng.uniform(0.7, 3)
    if kind == "MUL":
        return (kind, {"FusedActivationFunction": fused}), np.prod(sides) * rng.uniform(20, 255)
    return (kind, {}), max(sides) ** 2 * rng.uniform(20, 1000)


def case(kind: str, dtype: str, rng: np.random.Generator) -> tuple[Graph, Arrays]:
    """A network of the one operator, and its inputs."""
    sides = [scaled(rng, 0.01, 1) for _ in range(2)]
    shape = tuple(int(n) for n in rng.integers(1, (3, 6, 9, 40)))
    shapes, result, constants, name, fields = [shape], shape, [], "", {}
    own = zero_of(rng, dtype), zero_of(rng, dtype)
    step: float = scaled(rng, 0.01, 1)
    limits = np.iinfo(dtype)
    low, zero = limits.min, zero_of(rng, dtype)
    if kind in ("ADD", "SUB", "MUL", "SQUARED_DIFFERENCE"):
        (word, fields), step = elementwise(kind, rng, sides)
        name = {"SQUARED_DIFFERENCE": "SquaredDifference"}.get(word, word.title()) + "Options"
        shapes = [shape, tuple(1 if rng.random() < 0.3 else n for n in shape)]
    elif kind == "BATCH_MATMUL":
        batch, rows, depth, columns = (int(n) for n in rng.integers(1, (5, 20, 70, 20)))
        fields = {"AdjX": bool(rng.random() < 0.3), "AdjY": bool(rng.random() < 0.5)}
        shapes = [
            (batch, depth, rows) if fields["AdjX"] else (batch, rows, depth),
            (batch, columns, depth) if fields["AdjY"] else (batch, depth, columns),
        ]
        result, name = (batch, rows, columns), "BatchMatMulOptions"
        step = np.prod(sides) * np.sqrt(depth) * rng.uniform(20, 200)
    elif kind == "MEAN":
        axes = [[2], [1, 2], [3], [2, 3]][rng.integers(4)]
        result = tuple(1 if i in axes else n for i, n in enumerate(shape))
        constants, name, fields = [np.array(axes, "int32")], "ReducerOptions", {"KeepDims": True}
        step = sides[0] * rng.choice([1, rng.uniform(0.3, 1.2)])
    elif kind == "RSQRT":
        own, low = (limits.min, own[1]), limits.min + 1
        step = 1 / np.sqrt(sides[0]) / rng.uniform(20, 200)
    elif kind == "SOFTMAX":
        step, zero, name, fields = 1 / 256, limits.min, "SoftmaxOptions", {"Beta": 1.0}
        if dtype == "int16":
            step, zero = 1 / 32768, 0
    elif kind == "LEAKY_RELU":
        name, fields = "LeakyReluOptions", {"Alpha": float(rng.uniform(0.05, 0.9))}
    elif kind == "GELU":
        name, fields = "GeluOptions", {"Approximate": bool(rng.random() < 0.5)}
    elif kind == "RESIZE_BILINEAR":
        high, wide = (int(n) for n in rng.integers(1, 25, 2))
        constants, result = [np.array([high, wide], "int32")], (shape[0], high, wide, shape[3])
        centers = int(rng.integers(3))
        name = "ResizeBilinearOptions"
        fields = {"HalfPixelCenters": centers == 1, "AlignCorners": centers == 2}
        step, zero = sides[0], own[0]
    if kind in ("ADD", "SUB", "MUL", "SQUARED_DIFFERENCE"):
        result = tuple(int(n) for n in np.broadcast_shapes(*shapes))
    if dtype == "int16":
        sides = [side / 256 for side in sides]
        step = step if kind == "SOFTMAX" else step / 256
    data = [f"x{i}" for i in range(len(shapes))]
    tensors = [
        Tensor(n, s, dtype, scale=scale, zero=z)
        for n, s, scale, z in zip(data, shapes, sides, own, strict=False)
    ]
    held = [constant(f"c{i}", each) for i, each in enumerate(constants)]
    y = Tensor("y", result, dtype, scale=float(np.float32(step)), zero=zero)
    op = Op(kind, [*data, *(each.name for each in held)], ["y"], name, fields)
    feeds = {
        n: rng.integers(low, limits.max + 1, s).astype(dtype)
        for n, s in zip(data, shapes, strict=True)
    }
    return Graph([*tensors, *held, y], [op], data, ["y"]), feeds


UINT8 = ("ADD", "LEAKY_RELU", "MEAN", "MUL", "QUANTIZE", "RELU", "RESIZE_BILINEAR")
INT8 = (*UINT8, "ABS", "BATCH_MATMUL", "GELU", "RSQRT", "SOFTMAX", "SQUARED_DIFFERENCE", "SUB")
INT16 = (*UINT8, "ABS", "BATCH_MATMUL", "SOFTMAX", "SUB")
KINDS = [
    (kind, dtype)
    for dtype, kinds in (("int8", INT8), ("uint8", UINT8), ("int16", INT16))
    for kind in kinds
]


@pytest.mark.parametrize("kind, dtype", KINDS)
def test_the_same_integers(tmp_path: Path, kind: str, dtype: str) -> None:
    check_same_integers(partial(case, kind, dtype), 15, tmp_path)


@pytest.mark.parametrize(
    "kind",
    ["BATCH_MATMUL", "MEAN", "QUANTIZE", "RESIZE_BILINEAR", "RSQRT", "SQUARED_DIFFERENCE"],
)
def test_the_same_integers_compiled(tmp_path: Path, kind: str) -> None:
    graph, feeds = case(kind, "int8", np.random.default_rng(3))
    path = tmp_path / "m.tflite"
    path.write_bytes(model(graph))
    with tvmcomp.load(tvmcomp.build(path), threads=1) as session:
        (ours,) = session.run(feeds).values()
    assert (ours == litert(path, feeds)[0]).mean() > 0.999


@pytest.mark.parametrize("kind", ["Greater", "GreaterEqual", "Less", "LessEqual"])
def test_16_bit_numbers_compare_as_they_are_stored(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    sides = [Tensor(f"x{i}", (40, 7), "int16", scale=0.01 * (1 + i), zero=0) for i in range(2)]
    word = {"GreaterEqual": "GREATER_EQUAL", "LessEqual": "LESS_EQUAL"}.get(kind, kind.upper())
    op = Op(word, ["x0", "x1"], ["y"], f"{kind}Options")
    path = tmp_path / "m.tflite"
    y = Tensor("y", (40, 7), "bool")
    path.write_bytes(model(Graph([*sides, y], [op], ["x0", "x1"], ["y"])))
    feeds = {f"x{i}": rng.integers(-9, 10, (40, 7)).astype("int16") for i in range(2)}
    np.testing.assert_array_equal(converted(path, feeds)[0], litert(path, feeds)[0])


@pytest.mark.parametrize("seed", [0, 1, 36, 47])
def test_squared_differences_of_all_pairs(tmp_path: Path, seed: int) -> None:
    """Sides of 15 bits are rounded before they are subtracted: float32 is too short for that."""
    rng = np.random.default_rng(seed)
    every = np.arange(-128, 128).astype("int8")
    feeds = {"x0": every[:, None], "x1": every[None]}
    scales = [scaled(rng, 0.01, 0.3) for _ in range(2)]
    sides = [
        Tensor(name, data.shape, "int8", scale=scale, zero=zero_of(rng, "int8"))
        for (name, data), scale in zip(feeds.items(), scales, strict=True)
    ]
    step = float(np.float32(max(scales) ** 2 * rng.uniform(20, 200)))
    y = Tensor("y", (256, 256), "int8", scale=step, zero=-128)
    op = Op("SQUARED_DIFFERENCE", ["x0", "x1"], ["y"], "SquaredDifferenceOptions")
    path = tmp_path / "m.tflite"
    path.write_bytes(model(Graph([*sides, y], [op], ["x0", "x1"], ["y"])))
    np.testing.assert_array_equal(converted(path, feeds)[0], litert(path, feeds)[0])


def test_real_numbers_in_16_bits(tmp_path: Path) -> None:
    """It multiplies by the reciprocal of the scale: a division gives others in 4 of 100,000."""
    rng = np.random.default_rng(0)
    scale = float(np.float32(rng.uniform(1e-4, 1e-3)))
    data = (rng.standard_normal((300, 1000)) * scale * 12000).astype("float32")
    y = Tensor("y", data.shape, "int16", scale=scale, zero=0)
    op = Op("QUANTIZE", ["x"], ["y"], "QuantizeOptions")
    path = tmp_path / "m.tflite"
    path.write_bytes(model(Graph([Tensor("x", data.shape), y], [op], ["x"], ["y"])))
    np.testing.assert_array_equal(converted(path, {"x": data})[0], litert(path, {"x": data})[0])
