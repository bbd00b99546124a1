"""Graphs that are valid and unusual: names, inputs that are outputs, no elements, 4 bits."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import random, save

import tvmcomp
from tvmcomp.errors import ModelError

node = helper.make_node


def same_as_onnxruntime(path, feeds):
    options = onnxruntime.SessionOptions()
    # Optimized, it multiplies by weights of 4 bits in integers.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    wanted = dict(zip(names, session.run(None, feeds), strict=True))
    with tvmcomp.load(tvmcomp.build(path, log="none", reference=False)) as built:
        for name, got in built.run(feeds).items():
            want = wanted[name]
            assert (got.shape, got.dtype) == (want.shape, want.dtype)
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_nodes_of_any_name(tmp_path):
    names = ["main", "exp", "malloc", "int", "1", "é", "a b", "conv2d", "main_1", "__tvm_ffi_main"]
    nodes, tensor = [], "x"
    for index, name in enumerate(names):
        inputs = [tensor, "w"] if index % 2 else [tensor]
        tensor = f"t{index}"
        nodes.append(node("Conv" if index % 2 else "Sigmoid", inputs, [tensor], name=name))
    weights = {"w": random(3, 3, 1, 1)}
    path = save(tmp_path / "m.onnx", nodes, {"x": (1, 3, 4, 4)}, [tensor], weights=weights)
    same_as_onnxruntime(path, {"x": random(1, 3, 4, 4)})


def test_inputs_and_constants_that_are_outputs(tmp_path):
    types = {"n": TensorProto.INT64, "k": TensorProto.INT32}
    path = save(
        tmp_path / "m.onnx", [node("Relu", ["x"], ["y"])], {"x": (2, 3), "n": (4,)},
        ["x", "y", "n", "k"], types=types, weights={"k": np.arange(6, dtype="int32")},
    )  # fmt: skip
    same_as_onnxruntime(path, {"x": random(2, 3), "n": np.arange(4)})


def test_tensors_without_elements(tmp_path):
    bounds = {"zero": np.array([0]), "sizes": np.array([2, 0, 2]), "shape": np.array([3, 0])}
    nodes = [
        node("Slice", ["x", "zero", "zero", "zero"], ["none"]),
        node("Concat", ["none", "x"], ["joined"], axis=0),
        node("Split", ["x", "sizes"], ["left", "middle", "right"], axis=0),
        node("Add", ["middle", "none"], ["sum"]),
        node("ReduceSum", ["sum", "zero"], ["total"], keepdims=0),
        node("Transpose", ["none"], ["turned"]),
        node("MatMul", ["turned", "sum"], ["product"]),
        node("Reshape", ["sum", "shape"], ["reshaped"], allowzero=1),
        node("Relu", ["reshaped"], ["y"]),
    ]
    outputs = ["joined", "left", "middle", "right", "total", "product", "y"]
    path = save(tmp_path / "m.onnx", nodes, {"x": (4, 3)}, outputs, weights=bounds, opset=17)
    same_as_onnxruntime(path, {"x": random(4, 3)})


def four_bits(name, kind, *shape):
    values = np.random.default_rng(0).integers(0, 8, shape)
    return numpy_helper.from_array(values.astype(getattr(ml_dtypes, kind)), name)


@pytest.mark.parametrize("kind", ["int4", "uint4"])
@pytest.mark.parametrize("block", [0, 4])
def test_weights_of_four_bits(tmp_path, kind, block):
    scales = np.abs(random(2, 3) if block else random(3)) + 0.1
    nodes = [
        node("DequantizeLinear", ["q", "s"], ["w"], axis=0 if block else 1, block_size=block),
        node("MatMul", ["x", "w"], ["y"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"x": (2, 8)}, ["y"], weights={"s": scales}, opset=21)
    model = onnx.load(path)
    model.graph.initializer.append(four_bits("q", kind, 8, 3))
    onnx.save(model, path)
    same_as_onnxruntime(path, {"x": random(2, 8)})


def test_four_bits_are_not_computed_with(tmp_path):
    nodes = [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("Shape", ["q"], ["y"])]
    path = save(
        tmp_path / "m.onnx", nodes, {"x": (2, 3)}, ["y"],
        weights={"s": np.float32(1)}, opset=21, types={"y": TensorProto.INT64},
    )  # fmt: skip
    model = onnx.load(path)
    model.graph.initializer.append(four_bits("z", "int4"))
    model.graph.node[1].op_type = "Equal"
    model.graph.node[1].input.append("q")
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.BOOL
    onnx.save(model, path)
    with pytest.raises(ModelError):
        tvmcomp.build(path, log="none")


def test_results_of_four_bits_are_eight_bits_wide(tmp_path):
    path = save(
        tmp_path / "m.onnx", [node("QuantizeLinear", ["x", "s", "z"], ["y"])], {"x": (2, 3)},
        ["y"], weights={"s": np.float32(1)}, opset=21, types={"y": TensorProto.INT4},
    )  # fmt: skip
    model = onnx.load(path)
    model.graph.initializer.append(four_bits("z", "int4"))
    zero = onnx.numpy_helper.to_array(model.graph.initializer[-1]).astype(int)
    onnx.save(model, path)
    x = np.array([[-20, -1.5, -0.4], [0.5, 2.5, 30]], np.float32)
    with tvmcomp.load(tvmcomp.build(path, log="none")) as session:
        y = session.run({"x": x})["y"]
    assert y.dtype == np.int8
    np.testing.assert_array_equal(y, np.clip(np.round(x) + zero, -8, 7))


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax", "Hardmax"])
def test_constants_are_folded_by_the_rules_of_their_operator_set(operator, tmp_path):
    # Before set 13 these take all axes from theirs on as one.
    nodes = [node(operator, ["c"], ["t"]), node("Add", ["t", "x"], ["y"])]
    weights = {"c": random(3, 4, 5)}
    path = save(tmp_path / "m.onnx", nodes, {"x": (1,)}, ["y"], weights=weights, opset=11)
    same_as_onnxruntime(path, {"x": np.zeros(1, "float32")})


def test_folded_sums_keep_their_type(tmp_path, caplog):
    # onnx's reference gives a sum of uint32 the type of numpy's, and fails at the second.
    nodes = [
        node("ReduceSumSquare", ["c"], ["y"], keepdims=0),
        node("ReduceLogSum", ["f"], ["z"], keepdims=0),
    ]
    weights = {"c": np.array([1, 3], "uint32"), "f": np.ones(2, "float32")}
    path = save(
        tmp_path / "m.onnx", nodes, {"x": (1,)}, ["y", "z"], weights=weights, opset=18,
        types={"y": TensorProto.UINT32},
    )  # fmt: skip
    with tvmcomp.load(tvmcomp.build(path, log="none", reference=False)) as built:
        outputs = built.run({"x": np.zeros(1, "float32")})
    assert outputs["y"] == 10 and outputs["y"].dtype == np.uint32
    assert outputs["z"] == pytest.approx(np.log(2))
    assert not caplog.records


def test_regions_of_an_image(tmp_path):
    nodes = [
        node(
            "RoiAlign", ["x", "regions", "images"], [f"{mode}{ratio}"], mode=mode, output_height=4,
            output_width=2, sampling_ratio=ratio, spatial_scale=0.5,
        )
        for mode in ("avg", "max") for ratio in (0, 2)
    ]  # fmt: skip
    weights = {  # the last is empty
        "regions": np.array([[1, 2, 9, 12], [5, 0, 5.5, 15], [3, 3, 3, 3]], "float32"),
        "images": np.array([0, 1, 1]),
    }
    outputs = [each.output[0] for each in nodes]
    path = save(tmp_path / "m.onnx", nodes, {"x": (2, 3, 6, 8)}, outputs, weights=weights)
    same_as_onnxruntime(path, {"x": random(2, 3, 6, 8)})


def test_shape_of_run_time_is_refused(tmp_path):
    path = save(
        tmp_path / "m.onnx", [node("ConstantOfShape", ["s"], ["y"])], {"s": (3,)}, ["y"],
        types={"s": TensorProto.INT64},
    )  # fmt: skip
    with pytest.raises(ModelError, match="its shape must be known at build time"):
        tvmcomp.build(path, log="none")


def test_sequences_of_parts(tmp_path):
    nodes = [
        node("SplitToSequence", ["x"], ["rows"], axis=0, keepdims=0),
        node("SequenceAt", ["rows", "last"], ["row"]),
        node("SequenceInsert", ["rows", "row", "first"], ["more"]),
        node("ConcatFromSequence", ["more"], ["y"], axis=1, new_axis=1),
        node("SequenceLength", ["more"], ["n"]),
    ]
    weights = {"last": np.int64(-1), "first": np.int64(0)}
    path = save(
        tmp_path / "m.onnx", nodes, {"x": (3, 4)}, ["row", "y", "n"], weights=weights,
        types={"n": TensorProto.INT64},
    )  # fmt: skip
    same_as_onnxruntime(path, {"x": random(3, 4)})


def test_every_pair_of_sizes_can_be_resized(tmp_path):
    """Torch writes a scale of single precision that it computed from two sizes."""
    from tvmcomp.frontend import load_model

    pairs = [(a, b) for a in range(1, 60, 7) for b in range(1, 60, 6)]
    weights = {f"s{a}_{b}": np.array([1, 1, 1, b / a], "float32") for a, b in pairs}
    nodes = [
        node("Resize", [f"x{a}", "", f"s{a}_{b}"], [f"y{a}_{b}"], mode="cubic") for a, b in pairs
    ]
    inputs = {f"x{a}": (1, 1, 1, a) for a in {a for a, _ in pairs}}
    path = save(tmp_path / "m.onnx", nodes, inputs, [n.output[0] for n in nodes], weights=weights)
    wanted = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(
        None, {name: random(*shape) for name, shape in inputs.items()}
    )
    sizes = [spec.shape for spec in load_model(path).signature.outputs]
    assert sizes == [array.shape for array in wanted]


def test_remainders_in_a_row(tmp_path):
    """As loops that are written out have them: the code of each takes the last one's once."""
    nodes, last = [], "x"
    for i in range(24):
        nodes.append(node("Sub", [last, "x"], [f"s{i}"]))
        nodes.append(node("Mod", [f"s{i}", "n"], [f"m{i}"]))
        last = f"m{i}"
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "remainders",
        [value("x", TensorProto.INT32, [2, 3])],
        [value(last, TensorProto.INT32, None)],
        [numpy_helper.from_array(np.int32(-7), "n")],
    )
    path = tmp_path / "m.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    same_as_onnxruntime(path, {"x": np.array([[-9, -1, 0], [3, 2**20, -(2**20)]], "int32")})
