"""Anchors of 16-bit data and 8-bit weights: LiteRT's integers, every one, also of the largest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from litert import Arrays, converted, litert
from tflite_models import Graph, Op, Tensor, constant, model

import tvmcomp

KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
Shape = tuple[int, ...]


def sizes(kind: str, rng: np.random.Generator) -> tuple[Shape, Shape, Shape, str, dict, int]:
    """Shapes of data, weight and result, the options, and the weight's axis of channels."""
    high, wide = (int(n) for n in rng.integers(5, 12, 2))
    depth, channels = int(rng.integers(1, 20)), int(rng.integers(1, 20))
    stride, kernel = int(rng.integers(1, 3)), int(rng.integers(1, 4))
    window = {"StrideH": stride, "StrideW": stride, "Padding": 0}
    spatial = -(-high // stride), -(-wide // stride)
    data = 1, high, wide, depth
    if kind == "FULLY_CONNECTED":
        return (high, depth), (channels, depth), (high, channels), "FullyConnectedOptions", {}, 0
    if kind == "TRANSPOSE_CONV":
        weight = channels, kernel, kernel, depth
        result = 1, high * stride, wide * stride, channels
        return data, weight, result, "TransposeConvOptions", window, 0
    if kind == "DEPTHWISE_CONV_2D":
        window["DepthMultiplier"] = 1
        weight = 1, kernel, kernel, depth
        return data, weight, (1, *spatial, depth), "DepthwiseConv2DOptions", window, 3
    weight = channels, kernel, kernel, depth
    return data, weight, (1, *spatial, channels), "Conv2DOptions", window, 0


def case(kind: str, bias: str, rng: np.random.Generator) -> tuple[Graph, Arrays]:
    shape, kernel, result, options, fields, axis = sizes(kind, rng)
    if kind != "TRANSPOSE_CONV":
        fields = {**fields, "FusedActivationFunction": int(rng.choice([0, 1, 3]))}
    if bias == "int32" and kind != "DEPTHWISE_CONV_2D":
        fields = {**fields, "QuantizedBiasType": 2}  # LiteRT reads 64 bits without it
    scales = rng.uniform(0.001, 0.01, kernel[axis]).astype(np.float32)
    step = float(np.float32(rng.uniform(1e-4, 1e-3)))
    products = np.prod(kernel) / kernel[axis]
    out = float(np.float32(step * scales.mean() * np.sqrt(products) * rng.uniform(20, 100)))
    values = rng.integers(-127, 128, kernel)
    data = rng.integers(-32768, 32768, shape)
    if rng.random() < 0.2:  # the largest sums
        values, data = np.full(kernel, 127), np.full(shape, -32768)
    units = (scales * step).astype(np.float32)
    stored = rng.integers(-(2**20), 2**20, kernel[axis]).astype(bias)
    none = np.zeros(len(scales), "int64")
    held = [
        constant("w", values.astype("int8"), scale=scales, zero=none, axis=axis),
        constant("b", stored, scale=units, zero=none),
    ]
    inputs = ["x", "w", "b"]
    if kind == "TRANSPOSE_CONV":
        held.append(constant("shape", np.array(result, "int32")))
        inputs = ["shape", "w", "x", "b"]
    x = Tensor("x", shape, "int16", scale=step, zero=0)
    y = Tensor("y", result, "int16", scale=out, zero=0)
    op = Op(kind, inputs, ["y"], options, fields, 3 if kind == "TRANSPOSE_CONV" else 1)
    return Graph([x, *held, y], [op], ["x"], ["y"]), {"x": data.astype("int16")}


@pytest.mark.parametrize(
    "kind, bias",
    [*((kind, "int64") for kind in KINDS), ("CONV_2D", "int32"), ("FULLY_CONNECTED", "int32")],
)
def test_the_same_integers(tmp_path: Path, kind: str, bias: str) -> None:
    for seed in range(12):
        graph, feeds = case(kind, bias, np.random.default_rng(seed))
        path = tmp_path / f"{seed}.tflite"
        path.write_bytes(model(graph))
        # Its optimized convolution rounds sums of 32 bits otherwise in some vectors.
        plain = (kind, bias) == ("CONV_2D", "int32")
        (ours,), (theirs,) = converted(path, feeds), litert(path, feeds, reference=plain)
        assert len(np.unique(theirs)) > 1 or len(np.unique(feeds["x"])) == 1
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_integers_compiled(tmp_path: Path, kind: str) -> None:
    graph, feeds = case(kind, "int64", np.random.default_rng(3))
    path = tmp_path / "m.tflite"
    path.write_bytes(model(graph))
    artifact = tvmcomp.build(path)
    anchors = [each.dtype for each in artifact.metadata.operators if each.macs]
    assert anchors == ["float32" if kind == "TRANSPOSE_CONV" else "int8"] * 2
    with tvmcomp.load(artifact, threads=1) as session:
        (ours,) = session.run(feeds).values()
    np.testing.assert_array_equal(ours, litert(path, feeds)[0])
