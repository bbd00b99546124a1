"""Weights of 4 bits in blocks stay packed in the artifact, and give what their numbers say."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import random, run

import tvmcomp
from tvmcomp.errors import ModelError
from tvmcomp.frontend import load_model


def _saved(path: Path, nodes: list, rows: tuple[int, ...], columns: int, weights: dict) -> Path:
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "blocks", [info("x", 1, rows)], [info("y", 1, (*rows[:-1], columns))],
        [weight if isinstance(weight, onnx.TensorProto) else numpy_helper.from_array(weight, name)
         for name, weight in weights.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 10
    onnx.save(model, path)
    return path


def _draw(depth: int, columns: int, block: int, seed: int) -> tuple[np.ndarray, ...]:
    """Codes ``[N, K]``, scales and zeros ``[N, blocks]``, and the weight ``[K, N]``."""
    rng = np.random.default_rng(seed)
    blocks = -(-depth // block)
    codes = rng.integers(0, 16, (columns, depth))
    scales = rng.uniform(0.01, 0.1, (columns, blocks)).astype(np.float32)
    zeros = rng.integers(0, 16, (columns, blocks))
    spread = [np.repeat(a, block, 1)[:, :depth].astype(np.float64) for a in (zeros, scales)]
    return codes, scales, zeros, ((codes - spread[0]) * spread[1]).T


def _check(path: Path, rows: tuple[int, ...], weight: np.ndarray) -> None:
    model = load_model(path)
    assert "tvmcomp.block_matmul" in str(model.mod)
    x = random(*rows)
    wanted = x.astype(np.float64) @ weight
    (got,) = run(model, {"x": x})
    assert np.abs(got - wanted).max() <= 1e-5 * np.abs(wanted).max()


def _bytes(codes: np.ndarray) -> np.ndarray:
    return (codes[:, ::2] | codes[:, 1::2] << 4).astype(np.uint8)


@pytest.mark.parametrize(
    ("rows", "columns", "block"),
    [
        ((1, 64), 48, 16),
        ((7, 96), 40, 32),
        ((2, 3, 80), 17, 32),
        ((4, 34), 16, 32),
        ((3, 64), 8, 64),
    ],
)
@pytest.mark.parametrize("one_a_byte", [False, True])  # as NNCF writes zero points
def test_matmul_nbits(
    tmp_path: Path, rows: tuple[int, ...], columns: int, block: int, one_a_byte: bool
) -> None:
    depth = rows[-1]
    codes, scales, zeros, weight = _draw(depth, columns, block, columns)
    blocks = scales.shape[1]
    padded = np.pad(codes, ((0, 0), (0, blocks * block - depth)))
    node = helper.make_node("MatMulNBits", ["x", "q", "s", "z", "", "b"], ["y"], name="product",
                            domain="com.microsoft", K=depth, N=columns, bits=4,
                            block_size=block)  # fmt: skip
    bias = random(columns, seed=1)
    # What is left of a row's last byte means nothing.
    packed_zeros = _bytes(np.pad(zeros, ((0, 0), (0, blocks % 2)), constant_values=13))
    weights = {"q": _bytes(padded).reshape(columns, blocks, block // 2), "s": scales,
               "z": zeros.astype(np.uint8) if one_a_byte else packed_zeros,
               "b": bias}  # fmt: skip
    path = _saved(tmp_path / "m.onnx", [node], rows, columns, weights)
    model = load_model(path)
    x = random(*rows)
    wanted = x.astype(np.float64) @ weight + bias
    (got,) = run(model, {"x": x})
    assert np.abs(got - wanted).max() <= 1e-5 * np.abs(wanted).max()
    assert "tvmcomp.block_matmul" in str(model.mod)


def test_zero_points_of_another_number(tmp_path: Path) -> None:
    codes, scales, zeros, _ = _draw(64, 8, 16, 0)
    node = helper.make_node("MatMulNBits", ["x", "q", "s", "z"], ["y"], name="product",
                            domain="com.microsoft", K=64, N=8, bits=4, block_size=16)  # fmt: skip
    weights = {"q": _bytes(codes).reshape(8, 4, 8), "s": scales, "z": _bytes(zeros)[:, :1]}
    path = _saved(tmp_path / "m.onnx", [node], (2, 64), 8, weights)
    with pytest.raises(ModelError, match="its zero points are 8, not 8 x 4"):
        load_model(path)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.UINT4])
def test_dequantized_blocks(tmp_path: Path, kind: int, swapped: bool) -> None:
    codes, scales, zeros, weight = _draw(64, 24, 16, 3)
    signed = kind == TensorProto.INT4
    dtype = ml_dtypes.int4 if signed else ml_dtypes.uint4
    stored = [(a - 8 * signed).astype(dtype) for a in (codes, zeros)]
    arrays = [a if swapped else np.ascontiguousarray(a.T) for a in (*stored, scales)]
    weights = {"w": numpy_helper.from_array(arrays[0], "w"), "s": arrays[2],
               "z": numpy_helper.from_array(arrays[1], "z")}  # fmt: skip
    nodes = [helper.make_node("DequantizeLinear", ["w", "s", "z"], ["real"], block_size=16,
                              axis=int(swapped))]  # fmt: skip
    if swapped:
        nodes.append(helper.make_node("Transpose", ["real"], ["turned"], perm=[1, 0]))
    nodes.append(helper.make_node("MatMul", ["x", "turned" if swapped else "real"], ["y"]))
    _check(_saved(tmp_path / "m.onnx", nodes, (5, 64), 24, weights), (5, 64), weight)


def test_the_artifact_is_small_and_says_so(tmp_path: Path) -> None:
    codes, scales, _, weight = _draw(256, 512, 32, 4)
    weight = (codes - 8.0).T * np.repeat(scales, 32, 1).T.astype(np.float64)
    sizes = {"K": 256, "N": 512, "bits": 4, "block_size": 32}
    node = helper.make_node(
        "MatMulNBits", ["x", "q", "s"], ["h"], "product", domain="com.microsoft", **sizes
    )
    last = helper.make_node("Relu", ["h"], ["y"], name="positive")
    weights = {"q": _bytes(codes).reshape(512, 8, 16), "s": scales}
    path = _saved(tmp_path / "m.onnx", [node, last], (1, 256), 512, weights)
    built = tvmcomp.build(path, log="none", reference=False)
    # Codes, a float32 scale and a zero point for 32 of them; as float32 they are 512 KiB.
    assert built.constants_nbytes <= 256 * 512 // 2 * 1.4
    assert [(op.name, op.dtype) for op in built.metadata.operators if op.macs] == [
        ("product", "float32, weights int4")
    ]
    x = random(1, 256)
    wanted = np.maximum(x @ weight, 0)
    with tvmcomp.load(built) as session:
        got = session.run({"x": x})["y"]
    assert np.abs(got - wanted).max() <= 1e-5 * np.abs(wanted).max()
