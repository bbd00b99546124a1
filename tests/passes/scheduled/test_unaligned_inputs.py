"""Networks on inputs that begin at any element's address."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tvmcomp
from tvmcomp.passes.scheduled.unaligned_inputs import unaligned_inputs
from tvmcomp.tvm_import import tvm

relax = tvm.relax

RNG = np.random.default_rng(0)
INPUT = (1, 4, 12, 16)
#: Name -> (its nodes from x to y, y's rank): kinds of first operators, and views of the input.
NETWORKS = {
    "element-wise": [("Relu", ["x"], {})],
    "convolution": [("Conv", ["x", "w"], {"pads": [1, 1, 1, 1]})],
    "matmul": [("MatMul", ["x", "v"], {})],
    "reshape": [("Reshape", ["x", "rows"], {}), ("Softmax", [""], {"axis": -1})],
    "two reshapes": [
        ("Flatten", ["x"], {}),
        ("Reshape", ["", "rows"], {}),
        ("MatMul", ["", "v"], {}),
    ],
    "transpose": [("Transpose", ["x"], {"perm": [0, 2, 3, 1]}), ("Exp", [""], {})],
    "reduction": [("ReduceMean", ["x"], {"keepdims": 1})],
    "read twice": [("Relu", ["x"], {}), ("Add", ["", "x"], {})],
    "concatenation": [("Concat", ["x", "x"], {"axis": 1}), ("Neg", [""], {})],
    "only a view": [("Reshape", ["x", "rows"], {})],
}
WEIGHTS = {
    "w": RNG.standard_normal((5, 4, 3, 3)).astype("float32"),
    "v": RNG.standard_normal((16, 24)).astype("float32"),
    "rows": np.array([48, 16], "int64"),
}


def save_network(name: str, path: Path) -> None:
    """A chain: the empty input name is the result of the node before."""
    nodes, last = [], "x"
    used = set()
    for index, (kind, inputs, attributes) in enumerate(NETWORKS[name]):
        names = [each or last for each in inputs]
        used.update(names)
        last = "y" if index == len(NETWORKS[name]) - 1 else f"h{index}"
        nodes.append(helper.make_node(kind, names, [last], **attributes))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, INPUT)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, key) for key, array in WEIGHTS.items() if key in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)


def at_address(array: np.ndarray, offset: int) -> np.ndarray:
    """A copy of ``array`` that begins ``offset`` bytes after a multiple of 64."""
    memory = np.empty(array.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    view = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def reference(path: Path, x: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_an_input_is_read_in_place_at_any_elements_address(name: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    save_network(name, path)
    artifact = tvmcomp.build(path, reference=False)
    assert artifact.metadata.unaligned_inputs
    session = tvmcomp.load(artifact, threads=1)
    values = RNG.standard_normal(INPUT).astype("float32")
    wanted = reference(path, values)
    for offset in (0, 4, 16, 20, 60):
        x = at_address(values, offset)
        np.testing.assert_allclose(session.run({"x": x})["y"], wanted, rtol=1e-4, atol=1e-4)
        assert session._program._places[0] == x.ctypes.data
        np.testing.assert_array_equal(x, values)  # no kernel writes there


def test_quantized(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    save_network("convolution", path)
    samples = [{"x": RNG.standard_normal(INPUT).astype("float32")} for _ in range(4)]
    session = tvmcomp.load(
        tvmcomp.build(path, quant="int8", calibration=samples, reference=False), threads=1
    )
    wanted = session.run({"x": at_address(samples[0]["x"], 0)})["y"]
    for offset in (4, 20, 36):
        x = at_address(samples[0]["x"], offset)
        np.testing.assert_array_equal(session.run({"x": x})["y"], wanted)


def test_an_address_between_elements_is_copied(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    save_network("element-wise", path)
    session = tvmcomp.load(tvmcomp.build(path, reference=False), threads=1)
    values = RNG.standard_normal(INPUT).astype("float32")
    x = at_address(values, 2)
    np.testing.assert_array_equal(session.run({"x": x})["y"], np.maximum(values, 0))
    assert session._program._places[0] % x.itemsize == 0


def test_a_scalar_condition_and_its_branches(tmp_path: Path) -> None:
    floats = [helper.make_tensor_value_info("r", TensorProto.FLOAT, INPUT)]
    then = helper.make_graph([helper.make_node("Relu", ["x"], ["r"])], "then", [], floats)
    other = helper.make_graph([helper.make_node("Neg", ["x"], ["r"])], "else", [], floats)
    graph = helper.make_graph(
        [helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)],
        "g",
        [
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, INPUT),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, INPUT)],
    )
    path = tmp_path / "net.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    session = tvmcomp.load(tvmcomp.build(path, reference=False), threads=1)
    values = RNG.standard_normal(INPUT).astype("float32")
    for condition, wanted in ((True, np.maximum(values, 0)), (False, -values)):
        inputs = {"c": np.array(condition), "x": at_address(values, 4)}
        np.testing.assert_array_equal(session.run(inputs)["y"], wanted)


def test_control_flow_keeps_the_alignment() -> None:
    kind = relax.TensorType([8], "float32")
    c, x = relax.Var("c", relax.TensorType([], "bool")), relax.Var("x", kind)
    y = relax.Var("y", kind)
    branches = relax.If(c, relax.SeqExpr([], x), relax.SeqExpr([], x))
    block = relax.BindingBlock([relax.VarBinding(y, branches)])
    main = relax.Function([c, x], relax.SeqExpr([block], y), kind)
    mod = tvm.IRModule({"main": main})
    assert unaligned_inputs(mod, 2) == (mod, False)
