"""Files that are damaged, or lie about themselves: each is one error that says what is wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import run

from tvmcomp.errors import ModelError
from tvmcomp.frontend import load_model

node = helper.make_node
FLOAT = TensorProto.FLOAT
RELU = node("Relu", ["x"], ["y"])
ADD = node("Add", ["x", "k"], ["y"])


def model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, list[int]]] | None = None,
    outputs: tuple[str, ...] = ("y",),
    constants: dict[str, np.ndarray] | None = None,
    opset: int = 17,
    functions: tuple[onnx.FunctionProto, ...] = (),
    domains: tuple[str, ...] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "test",
        [
            helper.make_tensor_value_info(n, *t)
            for n, t in (inputs or {"x": (FLOAT, [1, 4])}).items()
        ],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()],
    )
    sets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=sets, ir_version=9, functions=functions)


def stored(kind: int, dims: list[int], data: bytes) -> onnx.ModelProto:
    """A model that adds a constant of ``data``."""
    made = model([ADD])
    made.graph.initializer.add(name="k", data_type=kind, dims=dims).raw_data = data
    return made


def function(inputs: list[str], outputs: list[str], *nodes: onnx.NodeProto) -> onnx.FunctionProto:
    return helper.make_function("my", "F", inputs, outputs, nodes, [helper.make_opsetid("", 17)])


def quantized(scale: object, zero: object, **attributes: int) -> onnx.ModelProto:
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"], **attributes),
        node("DequantizeLinear", ["q", "s", "z"], ["y"], **attributes),
    ]
    return model(nodes, constants={"s": np.asarray(scale, "f4"), "z": np.asarray(zero, "u1")})


def branch(*outputs: str) -> onnx.GraphProto:
    values = [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs]
    return helper.make_graph([node("Relu", ["x"], ["o"])], "branch", [], values)


def condition(kind: int, shape: list[int], *branches: onnx.GraphProto) -> onnx.ModelProto:
    names = ("then_branch", "else_branch")
    made = node("If", ["c"], ["y"], **dict(zip(names, branches, strict=False)))
    return model([made], {"x": (FLOAT, [1, 4]), "c": (kind, shape)})


RELU_OF_A = node("Relu", ["a"], ["b"])
CALL = node("F", ["x"], ["y"], domain="my")

REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "a cycle": (lambda: model([node("Add", ["x", "b"], ["a"]), RELU_OF_A]), "sorted"),
    "two makers": (lambda: model([RELU, node("Abs", ["x"], ["y"])]), "multiple times"),
    "no maker": (lambda: model([node("Relu", ["x"], ["z"])]), "'?y'?"),
    "an input of no name": (lambda: model([node("Add", ["x", "nowhere"], ["y"])]), "nowhere"),
    "no inputs": (lambda: model([node("Add", [], ["y"])]), "Add"),
    "no outputs": (lambda: model([node("Relu", ["x"], [])]), "Relu"),
    "raw data too short": (lambda: stored(FLOAT, [1, 4], b"\0" * 12), "'k' .*16 bytes.*holds 12"),
    "raw data too long": (lambda: stored(FLOAT, [1, 4], b"\0" * 20), "'k' .*16 bytes.*holds 20"),
    "a size below 0": (lambda: stored(FLOAT, [-1, 4], b"\0" * 16), "'k' has a size below 0"),
    "a huge tensor": (lambda: stored(FLOAT, [2**40, 2**30], b""), "'k'"),
    "complex": (lambda: stored(TensorProto.COMPLEX64, [1, 2], b"\0" * 16), "'k' is complex64"),
    "undefined": (lambda: stored(0, [1, 4], b"\0" * 16), "'k' is of the type 0"),
    "unknown": (lambda: stored(99, [1, 4], b"\0" * 16), "'k' is of the type 99"),
    "no data": (lambda: stored(FLOAT, [1, 4], b""), "'k'"),
    "cast to nothing": (lambda: model([node("Cast", ["x"], ["y"], to=0)]), "its to is 0"),
    "a word that is none": (
        lambda: model(
            [node("Conv", ["x", "k"], ["y"], auto_pad="same")],
            {"x": (FLOAT, [1, 1, 4, 4])},
            constants={"k": np.ones((1, 1, 1, 1), "f4")},
        ),
        "'Conv_0'.*auto_pad is 'same'",
    ),
    "scale of 3 for 4": (lambda: quantized([1, 1, 1], [0, 0, 0], axis=1), "_0"),
    "zero point of 3 for 4": (lambda: quantized([1, 1, 1, 1], [0, 0, 0], axis=1), "_0"),
    # numpy takes it; ONNX's shape inference, and ONNX Runtime with it, do not.
    "ellipses of other ranks": (
        lambda: model(
            [node("Einsum", ["x", "k"], ["y"], equation="...ij,...jk->...ik")],
            {"x": (FLOAT, [2, 3, 4])}, constants={"k": np.ones((4, 5), "f4")},
        ), "Einsum_0.*Ellipsis for input 1",
    ),
    "scale 0": (lambda: quantized(0, 0), "QuantizeLinear_0.*scale of it is 0"),
    "no such axis": (lambda: quantized([1, 1, 1, 1], [0, 0, 0, 0], axis=7), "Linear_0"),
    "call of too many inputs": (
        lambda: model(
            [node("F", ["x", "x"], ["y"], domain="my")],
            functions=(function(["a"], ["b"], RELU_OF_A),), domains=("my",),
        ), "calls the function F with 2 inputs",
    ),
    "call of too many outputs": (
        lambda: model(
            [node("F", ["x"], ["y", "z"], domain="my")],
            functions=(function(["a"], ["b"], RELU_OF_A),), domains=("my",),
        ), "calls the function F with 2 outputs",
    ),
    "a function without its output": (
        lambda: model(
            [CALL], functions=(function(["a"], ["c"], RELU_OF_A),), domains=("my",)
        ), "y|c",
    ),
    "If without a branch": (lambda: condition(TensorProto.BOOL, [], branch("o")), "else_branch"),
    "If of a float": (lambda: condition(FLOAT, [], branch("o"), branch("o")), "cond|If"),
    "If of a branch without its output": (
        lambda: condition(TensorProto.BOOL, [], branch("o"), branch("nowhere")), "nowhere",
    ),
    "too many inputs of Microsoft's": (
        lambda: model([node("Gelu", ["x", "x"], ["y"], domain="com.microsoft")]), "has 2 inputs",
    ),
    "GroupNormalization of 21 with a scale a group": (
        lambda: model(
            [node("GroupNormalization", ["x", "s", "s"], ["y"], num_groups=2)],
            {"x": (FLOAT, [1, 4, 3])}, constants={"s": np.ones(2, "f4")}, opset=21,
        ), "GroupNormalization_0.*4 channels",
    ),
}  # fmt: skip


def refused(source: Path | onnx.ModelProto) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(source)
    return " ".join(str(caught.value).split())


@pytest.mark.parametrize("name", REFUSED)
def test_damaged_model(name):
    make, text = REFUSED[name]
    assert re.search(text, refused(make()))


@pytest.mark.parametrize("kind", sorted(set(TensorProto.DataType.values()) | {99}))
def test_every_type_of_inputs(kind):
    made = model([node("Cast", ["x"], ["y"], to=1)])
    made.graph.input[0].type.tensor_type.elem_type = kind
    try:
        load_model(made)
    except ModelError as error:
        assert "'x'" in str(error) or "Cast" in str(error)


@pytest.mark.parametrize("place", ["relu_name", "Relu", "x"])
def test_undecodable_names(tmp_path, place):
    data = model([node("Relu", ["x"], ["y"], name="relu_name")]).SerializeToString()
    text = place.encode()
    damaged = data.replace(bytes([len(text)]) + text, bytes([len(text)]) + b"\xff" * len(text))
    assert damaged != data
    (tmp_path / "m.onnx").write_bytes(damaged)
    assert "not UTF-8" in refused(tmp_path / "m.onnx")


def test_undecodable_documentation_is_dropped(tmp_path):
    made = model([RELU])
    made.doc_string = "text"
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString().replace(b"text", b"t\xff\xfet"))
    load_model(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    "entries, text",
    [
        ({}, "location"),
        ({"location": ""}, "location"),
        ({"location": "."}, "missing"),
        ({"location": "nope.bin"}, "missing"),
        ({"location": "fifo"}, "missing"),
        ({"location": "x" * 300}, "not found"),
        ({"location": "../w.bin"}, "outside"),
        ({"location": "/etc/hostname"}, "outside"),
        ({"location": "link"}, "outside"),
        ({"location": "w.bin", "offset": "4"}, "ends after"),
        ({"location": "w.bin", "offset": "-4"}, "offset"),
        ({"location": "w.bin", "offset": "x"}, "offset"),
        ({"location": "w.bin", "offset": "9" * 40}, "offset"),
        ({"location": "w.bin", "length": "8"}, "8 bytes"),
        ({"location": "w.bin", "length": "99999"}, "99999 bytes"),
        ({"location": "w.bin", "length": "-1"}, "length"),
    ],
)
def test_external_data_that_is_not_there(tmp_path, entries, text):
    (tmp_path / "w.bin").write_bytes(bytes(16))
    (tmp_path / "link").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "fifo")
    made = model([ADD])
    tensor = made.graph.initializer.add(name="k", data_type=FLOAT, dims=[1, 4], data_location=1)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    message = refused(tmp_path / "m.onnx")
    assert "'k'" in message
    assert text in message


def agrees(made: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> None:
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (wanted,) = session.run(None, feeds)
    (given,) = run(load_model(made), feeds)
    np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-5)


def test_sparse_initializers_are_constants():
    values, places = np.array([2, 3], "f4"), np.array([1, 3])
    sparse = onnx.SparseTensorProto(dims=[1, 4])
    sparse.values.CopyFrom(numpy_helper.from_array(values, "k"))
    sparse.indices.CopyFrom(numpy_helper.from_array(places, "places"))
    made = model([ADD])
    made.graph.sparse_initializer.append(sparse)
    agrees(made, {"x": np.ones((1, 4), "f4")})


def test_microsofts_optional_inputs_may_be_left_out():
    """EmbedLayerNormalization without segments: inputs 1 and 4 have no name."""
    ids = {"x": (TensorProto.INT32, [1, 3])}
    rng = np.random.default_rng(0)
    tables = {name: rng.normal(size=(7, 2)).astype("f4") for name in ("words", "places")}
    scales = {"gamma": np.ones(2, "f4"), "beta": np.zeros(2, "f4")}
    inputs = ["x", "", "words", "places", "", "gamma", "beta"]
    made = model(
        [node("EmbedLayerNormalization", inputs, ["y", "mask"], domain="com.microsoft")],
        ids,
        constants=tables | scales,
    )
    load_model(made)


def test_microsofts_operators_need_no_declaration():
    agrees(
        model([node("Gelu", ["x"], ["y"], domain="com.microsoft")]), {"x": np.ones((1, 4), "f4")}
    )


@pytest.mark.parametrize("shape", [(2, 6, 5), (1, 6, 3, 4)])
def test_group_normalization_as_operator_set_18_had_it(shape):
    made = model(
        [node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=3, epsilon=0.1)],
        {"x": (FLOAT, list(shape))},
        constants={"s": np.array([1, 2, 3], "f4"), "b": np.array([-1, 0, 1], "f4")},
        opset=18,
    )
    agrees(made, {"x": np.random.default_rng(0).normal(size=shape).astype("f4")})
