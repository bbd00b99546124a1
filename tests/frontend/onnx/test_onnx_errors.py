"""What can't be imported is refused with a message that names it and says what to do."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import random, save

from tvmcomp.errors import ModelError
from tvmcomp.frontend import load_model

node = helper.make_node


@pytest.fixture
def dynamic(tmp_path):
    nodes = [node("Add", ["x", "z"], ["y"])]
    return save(tmp_path / "m.onnx", nodes, {"x": ("n", 3, None), "z": ("n", 3, 4)}, ["y"])


def refused(path, shapes=None) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(path, shapes or {})
    return str(caught.value)


def test_missing_file(tmp_path):
    assert "can't be read" in refused(tmp_path / "none.onnx")


def test_unknown_format(tmp_path):
    assert ".pb" in refused(tmp_path / "net.pb")


def test_empty_file(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"")
    assert "empty" in refused(tmp_path / "m.onnx")


def test_not_onnx(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"\x89PNG\r\n" * 50)
    assert "not an ONNX model" in refused(tmp_path / "m.onnx")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_truncated(tmp_path, part):
    weights = {"w": random(8, 3, 3, 3)}
    path = save(
        tmp_path / "m.onnx", [node("Conv", ["x", "w"], ["y"])], {"x": (1, 3, 8, 8)}, ["y"],
        weights=weights,
    )  # fmt: skip
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    assert "Traceback" not in refused(path)


def test_breaks_the_standard(tmp_path):
    path = save(tmp_path / "m.onnx", [node("Relu", ["nowhere"], ["y"])], {"x": (1,)}, ["y"])
    assert "nowhere" in refused(path)


@pytest.mark.parametrize("opset", [5, 99])
def test_operator_set_out_of_range(tmp_path, opset):
    path = save(tmp_path / "m.onnx", [node("Relu", ["x"], ["y"])], {"x": (1,)}, ["y"], opset=opset)
    assert f"operator set {opset}" in refused(path)


def test_unbound_dimension_names_input_and_option(dynamic):
    message = refused(dynamic)
    assert "'x'" in message
    assert "dimension 0 (n)" in message
    assert "--shape x=1,3,1" in message


def test_named_dimension_is_bound_everywhere(dynamic):
    model = load_model(dynamic, {"x": (2, 3, 4)})
    assert [spec.shape for spec in model.signature.inputs] == [(2, 3, 4), (2, 3, 4)]


@pytest.mark.parametrize(
    "shapes, expected",
    [
        ({"w": (1,)}, "no input 'w'; its inputs are 'x', 'z'"),
        ({"x": (2, 3)}, "has 3 dimensions"),
        ({"x": (2, 5, 4)}, "dimension 1 is 3 in the model, 5 was given"),
        ({"x": (2, 3, -1)}, "below 0"),
    ],
)
def test_wrong_shape(dynamic, shapes, expected):
    assert expected in refused(dynamic, shapes)


def test_unsupported_operators_are_all_named(tmp_path):
    def branch(op: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(f"o_{op}", TensorProto.FLOAT, None)
        return helper.make_graph([node(op, ["x"], [f"o_{op}"], name=f"in_{op}")], op, [], [out])

    nodes = [
        node("Fancy", ["x"], ["a"], name="one", domain="acme"),
        node("Unique", ["x"], ["b"], name="two"),
        node("If", ["flag"], ["c"], then_branch=branch("Unique"), else_branch=branch("Relu")),
    ]
    path = save(
        tmp_path / "m.onnx", nodes, {"x": (3, 3), "flag": ()}, ["a", "b", "c"],
        types={"flag": TensorProto.BOOL}, opsets=[helper.make_opsetid("acme", 1)],
    )  # fmt: skip
    message = refused(path)
    assert "acme::Fancy: one" in message
    assert "Unique: two, in_Unique" in message


def test_node_that_fails_is_named(tmp_path, capsys):
    nodes = [node("Reshape", ["x", "shape"], ["y"], name="dynamic_reshape")]
    path = save(
        tmp_path / "m.onnx", nodes, {"x": (4,), "shape": (2,)}, ["y"],
        types={"shape": TensorProto.INT64},
    )  # fmt: skip
    message = refused(path)
    assert "'dynamic_reshape' (Reshape of float32[4], int64[2])" in message
    assert "known at build time" in message
    assert capsys.readouterr().out == ""


def external(tmp_path, location: str):
    path = save(
        tmp_path / "m.onnx", [node("Add", ["x", "w"], ["y"])], {"x": (64, 64)}, ["y"],
        weights={"w": random(64, 64)},
    )  # fmt: skip
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    (entry,) = [e for e in model.graph.initializer[0].external_data if e.key == "location"]
    entry.value = location
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data_is_read(tmp_path):
    model = load_model(external(tmp_path, "w.bin"))
    (binding,) = model.mod["main"].body.blocks[0].bindings
    np.testing.assert_array_equal(binding.value.args[1].value.numpy(), random(64, 64))


def test_external_data_must_stay_in_the_folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    path = external(folder, "../w.bin")
    (folder / "w.bin").rename(tmp_path / "w.bin")
    assert "outside the model's folder" in refused(path)


def test_external_data_missing(tmp_path):
    path = external(tmp_path, "other.bin")
    assert "missing" in refused(path)


def test_initializer_listed_as_input_is_a_constant(tmp_path):
    path = save(
        tmp_path / "m.onnx", [node("Add", ["x", "w"], ["y"])], {"x": (2,), "w": (2,)}, ["y"],
        weights={"w": random(2)},
    )  # fmt: skip
    assert [spec.name for spec in load_model(path).signature.inputs] == ["x"]
