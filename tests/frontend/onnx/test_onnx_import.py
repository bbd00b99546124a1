"""Imported networks compute what ONNX Runtime computes, in the form that passes expect."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import check, names, operators, random, save

node = helper.make_node


def test_convolution_with_batch_norm_and_clip(tmp_path, capsys):
    weights = {
        "w": random(4, 3, 3, 3),
        "gamma": random(4, seed=1),
        "beta": random(4, seed=2),
        "mean": random(4, seed=3),
        "variance": np.abs(random(4, seed=4)) + 0.5,
        "low": np.float32(0.0),
        "high": np.float32(6.0),
    }
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="stem/conv", pads=[0, 1, 2, 1], strides=[2, 1]),
        node("BatchNormalization", ["a", "gamma", "beta", "mean", "variance"], ["b"]),
        node("Clip", ["b", "low", "high"], ["y"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"x": ("batch", 3, 9, 8)}, ["y"], weights=weights)
    model = check(path, {"x": random(2, 3, 9, 8)})
    assert operators(model) == ["nn.conv2d", "add", "clip"]
    assert names(model) == ["stem_conv__conv2d", "stem_conv", "Clip_2"]
    bias = model.mod["main"].body.blocks[0].bindings[1].value.args[1]
    assert tuple(bias.value.shape) == (1, 4, 1, 1)
    assert capsys.readouterr().out == ""


def test_batch_norm_without_convolution_is_multiply_and_add(tmp_path):
    weights = {name: np.abs(random(3, seed=i)) + 0.1 for i, name in enumerate("gbmv")}
    path = save(
        tmp_path / "m.onnx",
        [node("BatchNormalization", ["x", *"gbmv"], ["y"])],
        {"x": (2, 3, 4, 5)},
        ["y"],
        weights=weights,
    )
    assert operators(check(path, {"x": random(2, 3, 4, 5)})) == ["multiply", "add"]


def test_transposed_convolution_with_groups_and_batch_norm(tmp_path):
    weights = {"w": random(4, 3, 3, 3), "bias": random(6)}
    weights |= {name: np.abs(random(6, seed=i)) + 0.1 for i, name in enumerate("gbmv")}
    nodes = [
        node("ConvTranspose", ["x", "w", "bias"], ["a"], group=2, strides=[2, 2], pads=[1, 0, 1, 1],
             output_padding=[1, 0]),
        node("BatchNormalization", ["a", *"gbmv"], ["y"]),
    ]  # fmt: skip
    path = save(tmp_path / "m.onnx", nodes, {"x": (1, 4, 5, 6)}, ["y"], weights=weights)
    assert operators(check(path, {"x": random(1, 4, 5, 6)})) == ["nn.conv2d_transpose", "add"]


def test_conv1d_network_with_pools(tmp_path):
    nodes = [
        node("Conv", ["x", "w", "b"], ["a"], dilations=[2], group=2, pads=[1, 3]),
        node("LeakyRelu", ["a"], ["c"], alpha=0.1),
        node("MaxPool", ["c"], ["d"], kernel_shape=[3], strides=[2], pads=[1, 0]),
        node("AveragePool", ["d"], ["e"], kernel_shape=[2], strides=[2], ceil_mode=1),
        node("GlobalAveragePool", ["e"], ["y"]),
    ]
    weights = {"w": random(4, 2, 3), "b": random(4)}
    path = save(tmp_path / "m.onnx", nodes, {"x": (1, 4, 21)}, ["y"], weights=weights)
    assert operators(check(path, {"x": random(1, 4, 21)})) == [
        "nn.conv1d", "add", "nn.leakyrelu", "nn.max_pool1d", "nn.avg_pool1d", "mean",
    ]  # fmt: skip


@pytest.mark.parametrize("ceil_mode", [0, 1])
@pytest.mark.parametrize("count_include_pad", [0, 1])
def test_average_pool(tmp_path, ceil_mode, count_include_pad):
    pool = node("AveragePool", ["x"], ["y"], kernel_shape=[3, 2], strides=[2, 3],
                pads=[1, 0, 0, 1], ceil_mode=ceil_mode,
                count_include_pad=count_include_pad)  # fmt: skip
    path = save(tmp_path / "m.onnx", [pool], {"x": (1, 2, 8, 9)}, ["y"], opset=19)
    assert operators(check(path, {"x": random(1, 2, 8, 9)})) == ["nn.avg_pool2d"]


def test_shape_chains_are_folded(tmp_path):
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["batch"], axis=0),
        node("Unsqueeze", ["batch", "axes"], ["batch1"]),
        node("Concat", ["batch1", "rest"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["a"], name="flatten"),
        node("Gemm", ["a", "w", "c"], ["y"], transB=1, alpha=0.5, beta=2.0, name="head"),
    ]
    weights = {
        "zero": np.int64(0),
        "axes": np.array([0]),
        "rest": np.array([-1]),
        "w": random(5, 12),
        "c": random(5),
    }
    path = save(tmp_path / "m.onnx", nodes, {"x": ("n", 3, 4)}, ["y"], weights=weights)
    model = check(path, {"x": random(2, 3, 4)})
    assert operators(model) == ["reshape", "matmul", "add"]
    assert names(model) == ["flatten", "head__matmul", "head"]


def test_several_inputs_and_outputs_with_integers(tmp_path):
    nodes = [
        node("Gather", ["table", "ids"], ["a"], name="embed"),
        node("LayerNormalization", ["a", "scale", "shift"], ["b"], name="norm"),
        node("Cast", ["mask"], ["m"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["m", "last"], ["m3"]),
        node("Mul", ["b", "m3"], ["hidden.state"]),
        node("Split", ["hidden.state", "sizes"], ["left", "right"], axis=2, name="halves"),
        node("ArgMax", ["b"], ["best"], axis=-1, keepdims=0),
    ]
    weights = {
        "table": random(10, 6),
        "scale": random(6, seed=1),
        "shift": random(6, seed=2),
        "last": np.array([-1]),
        "sizes": np.array([2, 4]),
    }
    types = dict.fromkeys(["ids", "mask", "best"], TensorProto.INT64)
    path = save(
        tmp_path / "m.onnx", nodes, {"ids": ("b", "s"), "mask": ("b", "s")},
        ["hidden.state", "right", "best"], weights=weights, types=types,
    )  # fmt: skip
    feeds = {
        "ids": np.array([[1, 2, -1], [0, 9, 5]]),
        "mask": np.array([[1, 1, 0], [1, 0, 0]]),
    }
    model = check(path, feeds)
    assert "nn.layer_norm" in operators(model)
    assert {"embed", "norm", "halves__1"} <= set(names(model))


def test_condition_known_only_at_run_time(tmp_path):
    def branch(op: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(f"out_{op}", TensorProto.FLOAT, None)
        return helper.make_graph([node(op, ["x"], [f"out_{op}"], name=f"b_{op}")], op, [], [out])

    branches = {"then_branch": branch("Relu"), "else_branch": branch("Neg")}
    nodes = [node("If", ["flag"], ["y"], name="choose", **branches)]
    path = save(
        tmp_path / "m.onnx", nodes, {"x": (2, 3), "flag": ()}, ["y"],
        types={"flag": TensorProto.BOOL},
    )  # fmt: skip
    for flag in (True, False):
        model = check(path, {"x": random(2, 3), "flag": np.array(flag)})
    assert names(model)[-1] == "choose"


def test_quantize_and_dequantize_are_kept(tmp_path):
    weights = {
        "s": np.float32(0.05),
        "z": np.uint8(3),
        "w8": np.random.default_rng(0).integers(-127, 127, (4, 3, 1, 1)).astype(np.int8),
        "ws": np.abs(random(4)) * 0.01 + 0.01,
        "wz": np.zeros(4, np.int8),
    }
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("DequantizeLinear", ["w8", "ws", "wz"], ["w"], axis=0),
        node("Conv", ["d", "w"], ["y"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"x": (1, 3, 4, 4)}, ["y"], weights=weights)
    model = check(path, {"x": random(1, 3, 4, 4)})
    assert sorted(operators(model)) == ["dequantize", "dequantize", "nn.conv2d", "quantize"]
    assert len(model.mod["main"].params) == 1


def test_functions_are_inlined(tmp_path):
    square = helper.make_function(
        "local", "Square", ["a"], ["b"], [node("Mul", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    nodes = [node("Square", ["x"], ["s"], domain="local"), node("Celu", ["s"], ["y"], alpha=2.0)]
    path = save(
        tmp_path / "m.onnx", nodes, {"x": (2, 3)}, ["y"], functions=[square],
        opsets=[helper.make_opsetid("local", 1)],
    )  # fmt: skip
    assert operators(check(path, {"x": random(2, 3)}))[0] == "multiply"


def test_pass_through_output(tmp_path):
    nodes = [node("Identity", ["x"], ["same"]), node("Relu", ["x"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, {"x": (2, 3)}, ["same", "y"])
    check(path, {"x": random(2, 3)})


def test_old_operator_set(tmp_path):
    nodes = [
        node("Clip", ["x"], ["a"], min=-1.0, max=1.0),
        node("Slice", ["a"], ["b"], starts=[1, -3], ends=[9, 2147483647], axes=[1, 3]),
        node("Upsample", ["b"], ["c"], scales=[1.0, 1.0, 2.0, 2.0], mode="nearest"),
        node("Pad", ["c"], ["d"], pads=[0, 0, 1, 0, 0, 0, 0, 2], mode="constant", value=1.5),
        node("Squeeze", ["d"], ["e"], axes=[0]),
        node("Softmax", ["e"], ["f"], axis=1),
        node("Dropout", ["f"], ["y"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"x": (1, 3, 4, 5)}, ["y"], opset=7)
    model = check(path, {"x": random(1, 3, 4, 5)})
    assert "call_tir" not in operators(model)
    assert "nn.pad" in operators(model)


RESIZES = [
    {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
    {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    {"mode": "cubic", "coordinate_transformation_mode": "half_pixel"},
    {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
    {"mode": "linear", "antialias": 1},
]


@pytest.mark.parametrize("shape, scales", [((1, 2, 6, 5), (2.0, 2.0)), ((1, 2, 5, 7), (1.5, 0.6))])
@pytest.mark.parametrize("settings", RESIZES, ids=lambda s: "-".join(map(str, s.values())))
def test_resize(tmp_path, shape, scales, settings):
    weights = {"scales": np.array([1, 1, *scales], np.float32)}
    resize = node("Resize", ["x", "", "scales"], ["y"], **settings)
    path = save(tmp_path / "m.onnx", [resize], {"x": shape}, ["y"], weights=weights, opset=19)
    assert "call_tir" not in operators(check(path, {"x": random(*shape)}))


UNARY = {
    "Elu": {}, "Selu": {}, "Gelu": {}, "HardSigmoid": {"alpha": 0.3}, "HardSwish": {}, "Mish": {},
    "Sigmoid": {}, "Softplus": {}, "Softsign": {}, "Tanh": {}, "Erf": {}, "Relu": {},
    "ThresholdedRelu": {"alpha": 0.5}, "LogSoftmax": {"axis": 1}, "Round": {}, "LeakyRelu": {},
}  # fmt: skip


def test_activations_at_the_newest_operator_set_of_onnxruntime(tmp_path):
    nodes = [node(op, ["x"], [op], **attributes) for op, attributes in UNARY.items()]
    path = save(tmp_path / "m.onnx", nodes, {"x": (2, 40)}, list(UNARY), opset=22)
    # Large values too: softplus and mish must not overflow.
    x = np.concatenate([random(1, 40), 60 * random(1, 40, seed=1)])
    assert "call_tir" not in operators(check(path, {"x": x}))


def test_attention_block_of_a_transformer(tmp_path):
    weights = {
        "wq": random(8, 8), "wk": random(8, 8, seed=1), "wv": random(8, 8, seed=2),
        "split": np.array([0, 0, 2, 4]), "join": np.array([0, 0, 8]), "scale": np.float32(0.5),
        "two": np.float32(2), "eps": np.float32(1e-5),
    }  # fmt: skip
    nodes = []
    for name, perm in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [
            node("MatMul", ["x", f"w{name}"], [f"{name}0"]),
            node("Reshape", [f"{name}0", "split"], [f"{name}1"]),
            node("Transpose", [f"{name}1"], [name], perm=perm),
        ]
    nodes += [
        node("MatMul", ["q", "k"], ["scores"]),
        node("Mul", ["scores", "scale"], ["scaled"]),
        node("Add", ["scaled", "mask"], ["masked"]),
        node("Softmax", ["masked"], ["weights"], axis=-1),
        node("MatMul", ["weights", "v"], ["mixed"]),
        node("Transpose", ["mixed"], ["joined"], perm=[0, 2, 1, 3]),
        node("Reshape", ["joined", "join"], ["a"]),
        # A layer normalization as exporters before operator set 17 wrote it.
        node("ReduceMean", ["a"], ["mean"], axes=[-1]),
        node("Sub", ["a", "mean"], ["centred"]),
        node("Pow", ["centred", "two"], ["squares"]),
        node("ReduceMean", ["squares"], ["variance"], axes=[-1]),
        node("Add", ["variance", "eps"], ["safe"]),
        node("Sqrt", ["safe"], ["deviation"]),
        node("Div", ["centred", "deviation"], ["y"]),
    ]
    path = save(
        tmp_path / "m.onnx", nodes, {"x": ("n", "t", 8), "mask": (1, 1, 1, "t")}, ["y"],
        weights=weights, opset=13,
    )  # fmt: skip
    mask = np.array([0, 0, 0, -1e4], np.float32).reshape(1, 1, 1, 4)
    model = check(path, {"x": random(2, 4, 8), "mask": mask})
    assert set(operators(model)) == {
        "matmul", "reshape", "permute_dims", "multiply", "add", "nn.softmax", "mean", "subtract",
        "sqrt", "divide",
    }  # fmt: skip


def test_elementwise_of_several_tensors(tmp_path):
    nodes = [
        node("Max", ["x", "z", "k"], ["a"]),
        node("Min", ["a", "z"], ["b"]),
        node("Pow", ["b", "two"], ["c"]),
        node("Mean", ["c", "x"], ["d"]),
        node("Tile", ["d", "repeats"], ["e"]),
        node("Expand", ["z", "target"], ["f"]),
        node("Where", ["mask", "e", "f"], ["y"]),
    ]
    weights = {
        "k": np.float32(0.1),
        "two": np.float32(2),
        "repeats": np.array([2, 1]),
        "target": np.array([4, 1]),
        "mask": np.array([[True], [False], [True], [True]]),
    }
    path = save(tmp_path / "m.onnx", nodes, {"x": (2, 3), "z": (1, 3)}, ["y"], weights=weights)
    model = check(path, {"x": random(2, 3), "z": random(1, 3, seed=1)})
    assert "call_tir" not in operators(model)
    assert "power" not in operators(model)
