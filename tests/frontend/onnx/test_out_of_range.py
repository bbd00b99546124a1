"""Indices, divisors and shifts out of range at run time: defined results, and no foreign memory.

Every result is compared with numpy's of the clamped operand, and with ONNX Runtime where the
operand is in range.
"""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import helper
from onnx_models import run, save

import tvmcomp
from tvmcomp.errors import ModelError
from tvmcomp.frontend import load_model

FAR = [-(2**31), -(10**9), -100, 100, 10**9, 2**31 - 1]


def _model(tmp_path, op, feeds, *, opset=18, weights=None, inputs=None, **attributes):
    weights = weights or {}
    types = {n: helper.np_dtype_to_tensor_dtype(a.dtype) for n, a in feeds.items()}
    first = next(iter({**feeds, **weights}.values()))
    types["y"] = helper.np_dtype_to_tensor_dtype(first.dtype)
    node = helper.make_node(op, inputs or [*feeds, *weights], ["y"], **attributes)
    shapes = {name: array.shape for name, array in feeds.items()}
    return save(
        tmp_path / "m.onnx", [node], shapes, ["y"], weights=weights, types=types, opset=opset
    )


def _ours(path, *feeds):
    model = load_model(path)
    names = [spec.name for spec in model.signature.inputs]
    return [run(model, {n: f[n] for n in names})[0] for f in feeds]


def _reference(path, feeds):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


def _clamped(indices, sizes):
    sizes = np.asarray(sizes)
    wrapped = np.where(indices < 0, indices + sizes, indices)
    return np.asarray(np.clip(wrapped, 0, sizes - 1), indices.dtype)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def _with_far(rng, inside):
    """Replace half of the numbers by ones that are far out of range."""
    mixed = np.where(rng.random(inside.shape) < 0.5, rng.choice(FAR, inside.shape), inside)
    return np.asarray(mixed, inside.dtype)


def _data(rng, *shape):
    return rng.normal(size=shape).astype("float32")


# operator, data, indices, updates, attributes, sizes that the indices point into
CASES = [
    ("Gather", (5, 3), (2, 2), None, {}, 5),
    ("Gather", (5, 3), (), None, {"axis": -1}, 3),
    ("GatherElements", (4, 5), (2, 5), None, {}, 4),
    ("GatherElements", (4, 5, 2), (3, 9, 2), None, {"axis": 1}, 5),
    ("GatherND", (4, 5, 3), (6, 2), None, {}, (4, 5)),
    ("GatherND", (2, 5, 3), (2, 4, 1), None, {"batch_dims": 1}, (5,)),
    ("ScatterND", (4, 5, 3), (2, 2), (2, 3), {}, (4, 5)),
    ("ScatterElements", (6, 5), (1, 5), (1, 5), {}, 6),
]


@pytest.mark.parametrize("op, data, indices, updates, attributes, sizes", CASES)
def test_indices(tmp_path, rng, op, data, indices, updates, attributes, sizes):
    # The ND operators take int64 only.
    dtype = "int32" if op == "GatherElements" else "int64"
    low = -np.asarray(sizes)
    feeds = {"x": _data(rng, *data), "i": np.asarray(rng.integers(low, -low, indices), dtype)}
    if updates:
        if op == "ScatterND":  # no two updates meet
            feeds["i"] = np.stack([np.arange(len(feeds["i"]))] * indices[-1], -1).astype(dtype) - 2
        feeds["u"] = _data(rng, *updates)
    far = {**feeds, "i": _with_far(rng, feeds["i"])}
    path = _model(tmp_path, op, feeds, **attributes)
    inside, outside = _ours(path, feeds, far)
    np.testing.assert_array_equal(inside, _reference(path, feeds))
    clamped = {**far, "i": _clamped(far["i"], sizes)}
    if not updates:
        np.testing.assert_array_equal(outside, _reference(path, clamped))
    # Where two updates meet, either may win; none comes from elsewhere.
    known = np.concatenate([array.ravel() for name, array in far.items() if name != "i"])
    assert np.isin(outside, known).all()


@pytest.mark.parametrize(
    "op, data, index, attributes",
    [
        ("Gather", (5, 3), [5], {}),
        ("Gather", (5, 3), [-6], {}),
        ("GatherElements", (4, 5), [[10**9]], {"axis": 1}),
        ("GatherND", (4, 5), [10**8, 10**8], {}),
        ("GatherND", (4, 5), [[0, -6]], {}),
    ],
)
def test_constant_index_out_of_range_is_refused(tmp_path, rng, op, data, index, attributes):
    path = _model(
        tmp_path, op, {"x": _data(rng, *data)}, weights={"i": np.array(index)}, **attributes
    )
    with pytest.raises(ModelError, match=f"{op}.*outside"):
        load_model(path)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint32", "uint64"])
@pytest.mark.parametrize("op, fmod", [("Div", 0), ("Mod", 0), ("Mod", 1)])
def test_integer_division(tmp_path, rng, op, fmod, dtype):
    info = np.iinfo(dtype)
    attributes = {} if op == "Div" else {"fmod": fmod}
    a, b = (rng.integers(info.min, info.max, 64, dtype=dtype, endpoint=True) for _ in "ab")
    b[b == 0] = 3
    if info.min:
        b[::7] = -1
        b[1::7] = -5
    path = _model(tmp_path, op, {"a": a, "b": b}, **attributes)
    bad = {"a": a.copy(), "b": b.copy()}
    bad["a"][:10], bad["b"][:10:2] = info.min, 0
    if info.min:
        bad["b"][1:10:2] = -1
    inside, outside = _ours(path, {"a": a, "b": b}, bad)
    if op == "Div" or dtype not in ("uint8",):
        np.testing.assert_array_equal(inside, _reference(path, {"a": a, "b": b}))
    zero, minus = bad["b"] == 0, (bad["b"] == -1 if info.min else np.zeros(64, bool))
    assert (outside[zero] == 0).all()
    with np.errstate(all="ignore"):
        wanted = np.negative(bad["a"][minus]) if op == "Div" else 0
    np.testing.assert_array_equal(outside[minus], wanted)
    np.testing.assert_array_equal(outside[10:], inside[10:])


@pytest.mark.parametrize("dtype", ["uint8", "uint32", "uint64"])
@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_shifts(tmp_path, rng, direction, dtype):
    bits = np.iinfo(dtype).bits
    a = rng.integers(0, np.iinfo(dtype).max, 64, dtype=dtype, endpoint=True)
    b = rng.integers(0, 2 * bits, 64).astype(dtype)
    path = _model(tmp_path, "BitShift", {"a": a, "b": b}, direction=direction)
    (got,) = _ours(path, {"a": a, "b": b})
    shift = np.left_shift if direction == "LEFT" else np.right_shift
    np.testing.assert_array_equal(got, np.where(b < bits, shift(a, b % bits), 0))


@pytest.mark.parametrize("op", ["Div", "Mod"])
def test_constant_zero_divisor_is_refused(tmp_path, op):
    path = _model(
        tmp_path, op, {"a": np.ones(3, "int32")}, weights={"b": np.array([1, 0, 2], "int32")}
    )
    with pytest.raises(ModelError, match="constant 0"):
        load_model(path)


def test_max_unpool(tmp_path, rng):
    feeds = {"x": _data(rng, 1, 2, 2, 2), "i": np.array([0, 3, 9, 14, 16, 19, 25, 30])}
    feeds["i"] = feeds["i"].reshape(1, 2, 2, 2)
    path = _model(tmp_path, "MaxUnpool", feeds, kernel_shape=[2, 2], strides=[2, 2])
    far = {**feeds, "i": _with_far(rng, feeds["i"])}
    inside, outside = _ours(path, feeds, far)
    np.testing.assert_array_equal(inside, _reference(path, feeds))
    assert np.isin(outside, [0, *feeds["x"].ravel()]).all()


def test_region_batches_and_coordinates(tmp_path, rng):
    data = _data(rng, 2, 3, 8, 8)
    rois = rng.uniform(0, 4, (4, 2)).astype("float32")
    rois = np.concatenate([rois, rois + rng.uniform(1, 4, (4, 2)).astype("float32")], 1)
    feeds = {"x": data, "r": rois, "i": np.array([0, 1, 1, 0])}
    settings = {"output_height": 2, "output_width": 3, "sampling_ratio": 2}
    path = _model(tmp_path, "RoiAlign", feeds, **settings)
    far = {**feeds, "i": np.array([10**9, -(10**12), 2, 1])}
    wild = {**feeds, "r": np.array([[np.nan] * 4, [-1e30, 0, 1e30, 5], [np.inf] * 4, [5, 5, 1, 1]])}
    wild["r"] = wild["r"].astype("float32")
    inside, outside, anything = _ours(path, feeds, far, wild)
    np.testing.assert_allclose(inside, _reference(path, feeds), rtol=1e-4, atol=1e-5)
    clamped = {**far, "i": np.array([1, 0, 1, 1])}
    np.testing.assert_allclose(outside, _reference(path, clamped), rtol=1e-4, atol=1e-5)
    assert (np.abs(anything) <= np.abs(data).max()).all()


def test_regions_without_end_are_cut_off(tmp_path, rng):
    feeds = {
        "x": _data(rng, 1, 1, 4, 4),
        "r": np.array([[0, 0, 3, 3]], "float32"),
        "i": np.array([0]),
    }
    path = _model(tmp_path, "RoiAlign", feeds)
    wild = {**feeds, "r": np.array([[-1e9, -1e9, 1e9, 1e9]], "float32")}
    inside, _ = _ours(path, feeds, wild)
    np.testing.assert_allclose(inside, _reference(path, feeds), rtol=1e-4, atol=1e-5)


def test_max_roi_pool(tmp_path, rng):
    data = _data(rng, 2, 3, 8, 8)
    rois = np.array([[0, 1, 1, 6, 5], [1, 0, 2, 7, 7]], "float32")
    path = _model(tmp_path, "MaxRoiPool", {"x": data, "r": rois}, pooled_shape=[2, 2])
    far = rois.copy()
    far[:, 0] = [np.nan, 1e9]
    inside, outside = _ours(path, {"x": data, "r": rois}, {"x": data, "r": far})
    np.testing.assert_allclose(inside, _reference(path, {"x": data, "r": rois}))
    np.testing.assert_allclose(outside, inside)


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_grid_sample_anywhere(tmp_path, rng, mode, padding):
    data = _data(rng, 1, 2, 5, 3)
    grid = rng.uniform(-1, 1, (1, 3, 3, 2)).astype("float32")
    path = _model(
        tmp_path, "GridSample", {"x": data, "g": grid}, opset=20, mode=mode, padding_mode=padding,
        align_corners=1,
    )  # fmt: skip
    wild = grid.copy()
    wild[0, 0], wild[0, 1] = [np.nan, 1e30], [[-1e30, 5], [np.inf, -np.inf], [0, np.nan]]
    (got,) = _ours(path, {"x": data, "g": wild})
    finite = np.isfinite(wild).all(-1) & (np.abs(wild) < 1e9).all(-1)
    known = got[0][:, finite[0]]
    assert (np.abs(known) < 10 * np.abs(data).max()).all()


def test_embedding_ids(tmp_path, rng):
    feeds = {"w": rng.integers(0, 6, (1, 4)).astype("int32"), "s": np.zeros((1, 4), "int32")}
    weights = {"t": _data(rng, 6, 8), "p": _data(rng, 4, 8), "e": _data(rng, 2, 8),
               "g": np.ones(8, "float32"), "b": np.zeros(8, "float32")}  # fmt: skip
    node = helper.make_node(
        "EmbedLayerNormalization", [*feeds, *weights], ["y", "m"], domain="com.microsoft"
    )
    path = save(
        tmp_path / "m.onnx", [node], {"w": (1, 4), "s": (1, 4)}, ["y"], weights=weights,
        types={"w": 6, "s": 6}, opsets=[helper.make_opsetid("com.microsoft", 1)],
    )  # fmt: skip
    far = {
        "w": np.array([[10**9, -(10**9), 5, 0]], "int32"),
        "s": np.array([[2, -3, 0, 0]], "int32"),
    }
    clamped = {"w": np.array([[5, 0, 5, 0]], "int32"), "s": np.array([[1, 0, 0, 0]], "int32")}
    inside, outside = _ours(path, feeds, far)
    np.testing.assert_allclose(inside, _reference(path, feeds), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(outside, _reference(path, clamped), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["int32", "uint32"])
def test_division_in_a_built_network(tmp_path, dtype):
    """Also where the model selects around it: both sides of a selection are computed."""
    nodes = [
        helper.make_node("Div", ["a", "b"], ["q"]),
        helper.make_node("Mod", ["a", "b"], ["m"]),
        helper.make_node("Equal", ["b", "zero"], ["e"]),
        helper.make_node("Where", ["e", "seven", "q"], ["w"]),
        helper.make_node("Where", ["e", "seven", "m"], ["v"]),
    ]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    outputs = ["q", "m", "w", "v"]
    path = save(
        tmp_path / "m.onnx", nodes, {"a": (64,), "b": (64,)}, outputs,
        weights={"zero": np.array(0, dtype), "seven": np.array(7, dtype)},
        types=dict.fromkeys(["a", "b", *outputs], kind),
    )  # fmt: skip
    feeds = {"a": np.arange(64, dtype=dtype), "b": np.arange(64, dtype=dtype) % 3}
    with tvmcomp.load(tvmcomp.build(path, reference=False, log=tmp_path)) as session:
        got = session.run(feeds)
    zero, safe = feeds["b"] == 0, np.maximum(feeds["b"], 1)
    for name, value in {"q": feeds["a"] // safe, "m": feeds["a"] % safe}.items():
        np.testing.assert_array_equal(got[name], np.where(zero, 0, value))
        other = {"q": "w", "m": "v"}[name]
        np.testing.assert_array_equal(got[other], np.where(zero, 7, value))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"])
def test_casts_keep_low_bits(tmp_path, rng, dtype):
    x = np.concatenate([rng.uniform(-70000, 70000, 60), [-1.5, 300.7, -0.5, 2**31 - 128]])
    feeds = {"x": x.astype("float32")}
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    path = save(
        tmp_path / "m.onnx", [helper.make_node("Cast", ["x"], ["y"], to=kind)], {"x": (64,)},
        ["y"], types={"y": kind},
    )  # fmt: skip
    (got,) = _ours(path, feeds)
    np.testing.assert_array_equal(got, _reference(path, feeds))
    np.testing.assert_array_equal(got, feeds["x"].astype("int64").astype(dtype))
