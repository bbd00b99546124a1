"""Products of 8-bit integers, of vectors and of other types than float32: against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from tvmcomp import targets
from tvmcomp.codegen.compile import run_here
from tvmcomp.frontend import load_model
from tvmcomp.passes.pipeline import canonical, lower

HERE = targets.detect()


def build(
    folder: Any, operator: str, inputs: dict[str, Any], constants: dict[str, Any], **attributes: Any
) -> Any:
    """The model of one operator, whose inputs come in the order a, b, c, d."""
    order = [name if name in {**inputs, **constants} else "" for name in "abcd"]
    node = helper.make_node(operator, "".join(order) and [*order], ["y"], **attributes)
    while node.input and not node.input[-1]:
        del node.input[-1]
    graph = helper.make_graph(
        [node],
        "net",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in inputs.items()
        ],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    path = folder / "model.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def run(path: Any, inputs: dict[str, Any]) -> np.ndarray:
    mod = canonical(load_model(path, {}).mod)
    (output,), _ = run_here(mod, HERE, list(inputs.values()))
    return output


def drawn(rng: Any, shape: Any, dtype: str) -> np.ndarray:
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max + 1, shape).astype(dtype)


def _cases() -> list[Any]:
    """Shapes of the operands and of zero points, drawn once: odd sizes, vectors, broadcasting."""
    rng = np.random.default_rng(7)
    shapes = [((5,), (5, 7)), ((3, 5), (5,)), ((17,), (17,)), ((1, 33), (33, 20))]
    for _ in range(8):
        rows, depth, columns = (int(n) for n in rng.integers(1, 50, 3))
        batch = [(), (3,), (2, 3)][int(rng.integers(3))]
        other = [(), batch, (1,) * len(batch)][int(rng.integers(3))]
        shapes.append(((*batch, rows, depth), (*other, depth, columns)))
    found = []
    for n, pair in enumerate(shapes):
        dtypes = ("int8", "uint8")[n % 2], ("int8", "uint8")[n // 2 % 2]
        for constant in (False, True):
            found.append((*pair, *dtypes, constant, n % 4))
    return found


@pytest.mark.parametrize(("a", "b", "left", "right", "constant", "zeros"), _cases())
def test_matmul_integer(tmp_path, a, b, left, right, constant, zeros):
    rng = np.random.default_rng(0)
    values = {"a": drawn(rng, a, left), "b": drawn(rng, b, right)}
    if zeros & 1:
        values["c"] = drawn(rng, a[-2:-1] if zeros == 3 and len(a) == 2 else (), left)
    if zeros & 2:
        values["d"] = drawn(rng, b[-1:] if zeros == 3 and len(b) == 2 else (), right)
    wide = {name: array.astype(np.int64) for name, array in values.items()}
    zero_left, zero_right = wide.get("c", np.int64(0)), wide.get("d", np.int64(0))
    expected = np.matmul(
        wide["a"] - (zero_left[:, None] if zero_left.ndim else zero_left), wide["b"] - zero_right
    )
    held = {name for name in ("b", "d") if constant and name in values}
    inputs = {name: array for name, array in values.items() if name not in held}
    constants = {name: values[name] for name in held}
    path = build(tmp_path, "MatMulInteger", inputs, constants)
    given = run(path, inputs)
    assert given.dtype == np.int32
    np.testing.assert_array_equal(given, expected.astype(np.int32))


CONVOLUTIONS = [
    # data, weight, attributes
    ((2, 5, 9, 8), (7, 5, 3, 3), {"pads": [1, 0, 2, 1]}),
    ((1, 6, 9, 8), (4, 3, 3, 2), {"group": 2, "strides": [2, 1], "pads": [1, 1, 1, 1]}),
    ((1, 6, 9, 8), (6, 1, 3, 3), {"group": 6, "dilations": [2, 1], "pads": [2, 1, 2, 1]}),
    ((1, 4, 17), (9, 4, 5), {"auto_pad": "SAME_UPPER", "strides": [2]}),
    ((1, 3, 4, 5, 6), (2, 3, 2, 2, 2), {}),
]


@pytest.mark.parametrize(("x", "w", "attributes"), CONVOLUTIONS)
@pytest.mark.parametrize(
    ("dtype", "zeros", "constant"),
    [("uint8", 3, True), ("int8", 1, True), ("uint8", 2, True), ("uint8", 3, False)],
)
def test_conv_integer(tmp_path, x, w, attributes, dtype, zeros, constant):
    rng = np.random.default_rng(0)
    values = {"a": drawn(rng, x, "uint8"), "b": drawn(rng, w, dtype)}
    if zeros & 1:
        values["c"] = np.array(rng.integers(0, 256), "uint8")
    if zeros & 2:
        values["d"] = drawn(rng, w[:1] if zeros == 3 else (), dtype)
    data = values["a"].astype(np.float64) - values.get("c", 0)
    offset = values.get("d", np.zeros((), dtype)).astype(np.float64)
    offset = offset.reshape(-1, *(1,) * (len(w) - 1)) if offset.ndim else offset
    path = build(tmp_path, "Conv", {"a": data.astype("float32")},
                 {"b": (values["b"] - offset).astype("float32")}, **attributes)  # fmt: skip
    expected = onnxruntime.InferenceSession(path).run(None, {"a": data.astype("float32")})[0]
    held = {name for name in "bd" if constant and name in values}
    inputs = {name: array for name, array in values.items() if name not in held}
    constants = {name: values[name] for name in held}
    path = build(tmp_path, "ConvInteger", inputs, constants, **attributes)
    # Sums of so few products are exact in float32.
    np.testing.assert_array_equal(run(path, inputs), expected.astype(np.int32))


@pytest.mark.parametrize("dtype", ["float64", "int32", "int64", "uint32"])
@pytest.mark.parametrize("constant", [True, False])
def test_products_of_other_types_have_a_schedule(tmp_path, dtype, constant):
    rng = np.random.default_rng(0)
    values = {"a": rng.integers(0, 9, (2, 19, 13)), "b": rng.integers(0, 9, (13, 21))}
    values = {name: array.astype(dtype) for name, array in values.items()}
    held = {"b"} if constant else set()
    inputs = {name: array for name, array in values.items() if name not in held}
    path = build(tmp_path, "MatMul", inputs, {name: values[name] for name in held})
    given = run(path, inputs)
    assert given.dtype == dtype
    np.testing.assert_array_equal(given, values["a"] @ values["b"])
    lowered = lower(canonical(load_model(path, {}).mod), HERE)
    names = [str(func) for func in lowered.tasks.values()]
    assert any("tvmcomp.anchor" in text for text in names)
