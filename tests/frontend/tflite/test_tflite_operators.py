"""Each operator alone, float and quantized, against LiteRT's interpreter."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from flatbuffers import flexbuffers
from litert import agree, converted, litert
from tflite_models import Graph, Op, Tensor, constant, model

import tvmcomp

rng = np.random.default_rng(7)


def ints(*values: Any) -> np.ndarray:
    return np.array(values, "int32")


def floats(*shape: int) -> np.ndarray:
    return rng.normal(0, 1, shape).astype("float32")


CONV = {"StrideH": 1, "StrideW": 1, "Padding": 0}
POOL = {**CONV, "FilterHeight": 3, "FilterWidth": 2}
Case = tuple[str, list[tuple[int, ...]], list[np.ndarray], str, dict, tuple[int, ...]]
#: Kind, shapes of the data, constants after it, options, their fields, shape of the result; the
#: name says what is special.
CASES: dict[str, Case] = {
    "conv": ("CONV_2D", [(1, 9, 8, 3)], [floats(5, 3, 3, 3), floats(5)], "Conv2DOptions",
             {**CONV, "FusedActivationFunction": 1}, (1, 9, 8, 5)),
    "conv strided": ("CONV_2D", [(2, 10, 7, 3)], [floats(4, 3, 2, 3), floats(4)], "Conv2DOptions",
                     {**CONV, "StrideH": 2, "StrideW": 3, "FusedActivationFunction": 3},
                     (2, 5, 3, 4)),
    "conv dilated": ("CONV_2D", [(1, 11, 9, 2)], [floats(4, 3, 3, 2), floats(4)], "Conv2DOptions",
                     {**CONV, "DilationHFactor": 2, "DilationWFactor": 3}, (1, 11, 9, 4)),
    "conv valid": ("CONV_2D", [(1, 9, 9, 2)], [floats(4, 3, 3, 2), floats(4)], "Conv2DOptions",
                   {**CONV, "Padding": 1, "StrideH": 2, "StrideW": 2,
                    "FusedActivationFunction": 2}, (1, 4, 4, 4)),
    "conv grouped": ("CONV_2D", [(1, 6, 6, 4)], [floats(6, 3, 3, 2), floats(6)], "Conv2DOptions",
                     CONV, (1, 6, 6, 6)),
    "depthwise": ("DEPTHWISE_CONV_2D", [(1, 8, 7, 3)], [floats(1, 3, 3, 6), floats(6)],
                  "DepthwiseConv2DOptions", {**CONV, "DepthMultiplier": 2}, (1, 8, 7, 6)),
    "depthwise strided": ("DEPTHWISE_CONV_2D", [(1, 9, 8, 4)], [floats(1, 5, 3, 4), floats(4)],
                          "DepthwiseConv2DOptions",
                          {**CONV, "StrideH": 2, "StrideW": 2, "DepthMultiplier": 1},
                          (1, 5, 4, 4)),
    "fully connected": ("FULLY_CONNECTED", [(3, 2, 4)], [floats(5, 8), floats(5)],
                        "FullyConnectedOptions", {"FusedActivationFunction": 1}, (3, 5)),
    "fully connected, dims kept": ("FULLY_CONNECTED", [(3, 2, 8)], [floats(5, 8)],
                                   "FullyConnectedOptions", {"KeepNumDims": True}, (3, 2, 5)),
    "batch matmul": ("BATCH_MATMUL", [(2, 3, 4), (2, 5, 4)], [], "BatchMatMulOptions",
                     {"AdjY": True}, (2, 3, 5)),
    "max pool": ("MAX_POOL_2D", [(1, 9, 8, 3)], [], "Pool2DOptions", POOL, (1, 9, 8, 3)),
    "average pool": ("AVERAGE_POOL_2D", [(1, 9, 8, 3)], [], "Pool2DOptions",
                     {**POOL, "StrideH": 2, "StrideW": 2}, (1, 5, 4, 3)),
    "average pool valid": ("AVERAGE_POOL_2D", [(1, 9, 8, 3)], [], "Pool2DOptions",
                           {**POOL, "Padding": 1}, (1, 7, 7, 3)),
    "resize": ("RESIZE_BILINEAR", [(1, 5, 4, 3)], [ints(9, 11)], "ResizeBilinearOptions", {},
               (1, 9, 11, 3)),
    "resize, centres": ("RESIZE_BILINEAR", [(1, 5, 4, 3)], [ints(9, 11)], "ResizeBilinearOptions",
                        {"HalfPixelCenters": True}, (1, 9, 11, 3)),
    "resize, corners": ("RESIZE_BILINEAR", [(1, 5, 4, 3)], [ints(9, 11)], "ResizeBilinearOptions",
                        {"AlignCorners": True}, (1, 9, 11, 3)),
    "nearest": ("RESIZE_NEAREST_NEIGHBOR", [(1, 5, 4, 3)], [ints(9, 11)],
                "ResizeNearestNeighborOptions", {}, (1, 9, 11, 3)),
    "nearest, centres": ("RESIZE_NEAREST_NEIGHBOR", [(1, 5, 4, 3)], [ints(7, 10)],
                         "ResizeNearestNeighborOptions", {"HalfPixelCenters": True},
                         (1, 7, 10, 3)),
    "nearest, corners": ("RESIZE_NEAREST_NEIGHBOR", [(1, 5, 4, 3)], [ints(9, 11)],
                         "ResizeNearestNeighborOptions", {"AlignCorners": True}, (1, 9, 11, 3)),
    "depth to space": ("DEPTH_TO_SPACE", [(1, 3, 2, 8)], [], "DepthToSpaceOptions",
                       {"BlockSize": 2}, (1, 6, 4, 2)),
    "space to depth": ("SPACE_TO_DEPTH", [(1, 6, 4, 2)], [], "SpaceToDepthOptions",
                       {"BlockSize": 2}, (1, 3, 2, 8)),
    "space to batch": ("SPACE_TO_BATCH_ND", [(1, 5, 6, 2)], [ints(2, 3), ints((1, 0), (0, 0))],
                       "SpaceToBatchNDOptions", {}, (6, 3, 2, 2)),
    "batch to space": ("BATCH_TO_SPACE_ND", [(6, 3, 2, 2)], [ints(2, 3), ints((1, 0), (0, 2))],
                       "BatchToSpaceNDOptions", {}, (1, 5, 4, 2)),
    "add": ("ADD", [(2, 3, 4), (3, 1)], [], "AddOptions", {"FusedActivationFunction": 1},
            (2, 3, 4)),
    "sub": ("SUB", [(2, 3, 4), (4,)], [], "SubOptions", {}, (2, 3, 4)),
    "mul": ("MUL", [(2, 3, 4), (2, 3, 4)], [], "MulOptions", {"FusedActivationFunction": 3},
            (2, 3, 4)),
    "maximum": ("MAXIMUM", [(2, 3), (2, 3)], [], "MaximumMinimumOptions", {}, (2, 3)),
    "minimum": ("MINIMUM", [(2, 3), (3,)], [], "MaximumMinimumOptions", {}, (2, 3)),
    "prelu": ("PRELU", [(1, 4, 5, 3)], [floats(1, 1, 3)], "", {}, (1, 4, 5, 3)),
    "leaky relu": ("LEAKY_RELU", [(3, 4)], [], "LeakyReluOptions", {"Alpha": 0.3}, (3, 4)),
    "relu6": ("RELU6", [(3, 4)], [], "", {}, (3, 4)),
    "relu": ("RELU", [(3, 4)], [], "", {}, (3, 4)),
    "tanh": ("TANH", [(3, 4)], [], "", {}, (3, 4)),
    "logistic": ("LOGISTIC", [(3, 4)], [], "", {}, (3, 4)),
    "hard swish": ("HARD_SWISH", [(3, 4)], [], "HardSwishOptions", {}, (3, 4)),
    "softmax": ("SOFTMAX", [(3, 4)], [], "SoftmaxOptions", {"Beta": 1.0}, (3, 4)),
    "concatenation": ("CONCATENATION", [(2, 3, 4), (2, 1, 4)], [], "ConcatenationOptions",
                      {"Axis": 1}, (2, 4, 4)),
    "pad": ("PAD", [(1, 4, 5, 2)], [ints((0, 0), (1, 2), (0, 1), (0, 0))], "PadOptions", {},
            (1, 7, 6, 2)),
    "reshape": ("RESHAPE", [(2, 6)], [ints(3, 4)], "ReshapeOptions", {}, (3, 4)),
    "transpose": ("TRANSPOSE", [(2, 3, 4)], [ints(2, 0, 1)], "TransposeOptions", {}, (4, 2, 3)),
    "mean": ("MEAN", [(1, 4, 5, 3)], [ints(1, 2)], "ReducerOptions", {"KeepDims": True},
             (1, 1, 1, 3)),
    "strided slice": ("STRIDED_SLICE", [(4, 5, 6)], [ints(1, 0, 5), ints(3, 0, 0), ints(1, 2, -2)],
                      "StridedSliceOptions", {"EndMask": 2}, (2, 3, 3)),
    "slice": ("SLICE", [(4, 5, 6)], [ints(1, 0, 2), ints(2, -1, 3)], "SliceOptions", {}, (2, 5, 3)),
    "gather": ("GATHER", [(4, 5)], [ints(3, 0, 0)], "GatherOptions", {"Axis": 1}, (4, 3)),
}  # fmt: skip
#: Those that LiteRT has no 8-bit kernel of, or whose constants are not quantized simply.
_FLOAT_ONLY = {"batch matmul", "conv grouped", "prelu"}
FLOAT: dict[str, Case] = {
    "l2 pool": ("L2_POOL_2D", [(1, 6, 6, 2)], [], "Pool2DOptions", POOL, (1, 6, 6, 2)),
    "lrn": ("LOCAL_RESPONSE_NORMALIZATION", [(1, 4, 4, 7)], [],
            "LocalResponseNormalizationOptions",
            {"Radius": 2, "Bias": 1.5, "Alpha": 0.4, "Beta": 0.7}, (1, 4, 4, 7)),
    "l2 normalization": ("L2_NORMALIZATION", [(3, 5)], [], "L2NormOptions", {}, (3, 5)),
    "div": ("DIV", [(2, 3), (2, 3)], [], "DivOptions", {}, (2, 3)),
    "floor div": ("FLOOR_DIV", [(2, 3), (2, 3)], [], "FloorDivOptions", {}, (2, 3)),
    "floor mod": ("FLOOR_MOD", [(2, 3), (2, 3)], [], "FloorModOptions", {}, (2, 3)),
    "squared difference": ("SQUARED_DIFFERENCE", [(2, 3), (3,)], [], "SquaredDifferenceOptions",
                           {}, (2, 3)),
    "elu": ("ELU", [(2, 9)], [], "", {}, (2, 9)),
    "gelu": ("GELU", [(2, 9)], [], "GeluOptions", {"Approximate": False}, (2, 9)),
    "gelu tanh": ("GELU", [(2, 9)], [], "GeluOptions", {"Approximate": True}, (2, 9)),
    "log softmax": ("LOG_SOFTMAX", [(2, 9)], [], "LogSoftmaxOptions", {}, (2, 9)),
    "softmax, hot": ("SOFTMAX", [(3, 4)], [], "SoftmaxOptions", {"Beta": 2.5}, (3, 4)),
    "abs": ("ABS", [(2, 9)], [], "AbsOptions", {}, (2, 9)),
    "exp": ("EXP", [(2, 9)], [], "ExpOptions", {}, (2, 9)),
    "floor": ("FLOOR", [(2, 9)], [], "", {}, (2, 9)),
    "ceil": ("CEIL", [(2, 9)], [], "", {}, (2, 9)),
    "round": ("ROUND", [(2, 9)], [], "", {}, (2, 9)),
    "sin": ("SIN", [(2, 9)], [], "", {}, (2, 9)),
    "cos": ("COS", [(2, 9)], [], "CosOptions", {}, (2, 9)),
    "neg": ("NEG", [(2, 9)], [], "NegOptions", {}, (2, 9)),
    "sign": ("SIGN", [(2, 9)], [], "", {}, (2, 9)),
    "square": ("SQUARE", [(2, 9)], [], "SquareOptions", {}, (2, 9)),
    "relu n1 to 1": ("RELU_N1_TO_1", [(2, 9)], [], "", {}, (2, 9)),
    "atan2": ("ATAN2", [(2, 9), (2, 9)], [], "", {}, (2, 9)),
    "sum": ("SUM", [(2, 3, 4)], [ints(-1)], "ReducerOptions", {}, (2, 3)),
    "reduce max": ("REDUCE_MAX", [(2, 3, 4)], [ints(0, 2)], "ReducerOptions", {}, (3,)),
    "reduce min": ("REDUCE_MIN", [(2, 3, 4)], [ints(1)], "ReducerOptions", {"KeepDims": True},
                   (2, 1, 4)),
    "reduce prod": ("REDUCE_PROD", [(2, 3, 4)], [ints(1)], "ReducerOptions", {}, (2, 4)),
    "cumsum": ("CUMSUM", [(2, 5)], [ints(1).reshape(())], "CumsumOptions",
               {"Exclusive": True, "Reverse": True}, (2, 5)),
    "mirror pad": ("MIRROR_PAD", [(4, 5)], [ints((2, 1), (0, 3))], "MirrorPadOptions", {"Mode": 0},
                   (7, 8)),
    "mirror pad, border": ("MIRROR_PAD", [(4, 5)], [ints((2, 1), (0, 5))], "MirrorPadOptions",
                           {"Mode": 1}, (7, 10)),
    "pad with a number": ("PADV2", [(4, 5)], [ints((1, 0), (0, 2)), np.float32(3.5)],
                          "PadV2Options", {}, (5, 7)),
    "tile": ("TILE", [(2, 3)], [ints(2, 3)], "TileOptions", {}, (4, 9)),
    "broadcast to": ("BROADCAST_TO", [(2, 1)], [ints(3, 2, 4)], "BroadcastToOptions", {},
                     (3, 2, 4)),
    "reverse": ("REVERSE_V2", [(2, 3, 4)], [ints(1)], "ReverseV2Options", {}, (2, 3, 4)),
    "reverse sequence": ("REVERSE_SEQUENCE", [(3, 5)], [ints(5, 1, 3)], "ReverseSequenceOptions",
                         {"SeqDim": 1, "BatchDim": 0}, (3, 5)),
    "gather, batches": ("GATHER", [(2, 4, 3)], [ints((1, 0), (3, 2))], "GatherOptions",
                        {"Axis": 1, "BatchDims": 1}, (2, 2, 3)),
    "gather nd": ("GATHER_ND", [(2, 4, 3)], [ints((1, 0), (0, 3))], "GatherNdOptions", {}, (2, 3)),
    "squeeze": ("SQUEEZE", [(1, 3, 1, 2)], [], "SqueezeOptions", {"SqueezeDims": [2]}, (1, 3, 2)),
    "expand dims": ("EXPAND_DIMS", [(3, 2)], [ints(1).reshape(())], "ExpandDimsOptions", {},
                    (3, 1, 2)),
    "pack": ("PACK", [(3, 2), (3, 2)], [], "PackOptions", {"Axis": 1, "ValuesCount": 2},
             (3, 2, 2)),
    "matrix diag": ("MATRIX_DIAG", [(3, 2)], [], "MatrixDiagOptions", {}, (3, 2, 2)),
    "strided slice, shrunk": ("STRIDED_SLICE", [(4, 5, 6)],
                              [ints(-1, 0, 1), ints(0, 0, 5), ints(1, 1, 2)],
                              "StridedSliceOptions",
                              {"ShrinkAxisMask": 1, "BeginMask": 2, "EndMask": 2}, (5, 2)),
    "strided slice, ellipsis": ("STRIDED_SLICE", [(4, 5, 6)],
                                [ints(0, 0, 0, 2), ints(0, 0, 0, 3), ints(1, 1, 1, 1)],
                                "StridedSliceOptions",
                                {"EllipsisMask": 2, "NewAxisMask": 4, "ShrinkAxisMask": 8,
                                 "BeginMask": 1, "EndMask": 1}, (4, 5, 1)),
    "pow": ("POW", [(2, 3)], [np.float32(2)], "PowOptions", {}, (2, 3)),
    "add n": ("ADD_N", [(2, 3), (2, 3), (2, 3)], [], "AddNOptions", {}, (2, 3)),
}  # fmt: skip


def names(count: int) -> list[str]:
    return [f"x{i}" for i in range(count)]


@pytest.mark.parametrize("name", [*CASES, *FLOAT])
def test_float(tmp_path, name):
    kind, shapes, constants, options, fields, result = (CASES | FLOAT)[name]
    data = names(len(shapes))
    held = [constant(f"c{i}", each) for i, each in enumerate(constants)]
    tensors = [Tensor(n, shape) for n, shape in zip(data, shapes, strict=True)]
    inputs = [*data, *(each.name for each in held)]
    op = Op(kind, inputs, ["y"], options, fields, 2 if kind == "BROADCAST_TO" else 1)
    graph = Graph([*tensors, *held, Tensor("y", result)], [op], data, ["y"])
    path = tmp_path / "m.tflite"
    path.write_bytes(model(graph))
    feeds = {n: floats(*shape) * 3 for n, shape in zip(data, shapes, strict=True)}
    agree(converted(path, feeds), litert(path, feeds))


#: Results with a range of their own.
_RANGES = {"LOGISTIC": (1 / 256, -128), "SOFTMAX": (1 / 256, -128), "TANH": (1 / 128, 0)}
#: Results that keep the data's scale.
_MOVES = {
    "MAX_POOL_2D", "AVERAGE_POOL_2D", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR",
    "DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "CONCATENATION",
    "PAD", "RESHAPE", "TRANSPOSE", "STRIDED_SLICE", "SLICE", "GATHER", "MAXIMUM", "MINIMUM",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in CASES if name not in _FLOAT_ONLY])
def test_int8(tmp_path, name):
    kind, shapes, constants, options, fields, result = CASES[name]
    data = names(len(shapes))
    scale, zero = 0.03, 5
    held = []
    for i, each in enumerate(constants):
        if each.dtype != np.float32:
            held.append(constant(f"c{i}", each))
        elif each.ndim == 1:  # a bias
            units = scale * np.asarray(held[-1].scale, "float32")
            bias = np.round(each / units).astype("int32")
            held.append(constant(f"c{i}", bias, scale=units, zero=np.zeros_like(units)))
        else:
            axis = 3 if kind == "DEPTHWISE_CONV_2D" else 0
            others = tuple(a for a in range(each.ndim) if a != axis)
            scales = (
                np.abs(each).max(others) / 127 if kind != "FULLY_CONNECTED" else np.array([0.02])
            )
            spread = scales.reshape([-1 if a == axis else 1 for a in range(each.ndim)])
            stored = np.clip(np.round(each / spread), -127, 127).astype("int8")
            held.append(
                constant(f"c{i}", stored, scale=scales, zero=np.zeros_like(scales), axis=axis)
            )
    out = (scale, zero) if kind in _MOVES else _RANGES.get(kind, (0.06, -10))
    tensors = [
        Tensor(n, shape, "int8", scale=scale, zero=zero)
        for n, shape in zip(data, shapes, strict=True)
    ]
    inputs = [*data, *(each.name for each in held)]
    y = Tensor("y", result, "int8", scale=out[0], zero=out[1])
    path = tmp_path / "m.tflite"
    path.write_bytes(
        model(Graph([*tensors, *held, y], [Op(kind, inputs, ["y"], options, fields)], data, ["y"]))
    )
    feeds = {
        n: rng.integers(-128, 128, s).astype("int8") for n, s in zip(data, shapes, strict=True)
    }
    agree(converted(path, feeds), litert(path, feeds, reference=True))


@pytest.mark.parametrize("kind", ["ADD", "FLOOR_DIV", "FLOOR_MOD", "MAXIMUM", "LESS", "NOT_EQUAL"])
def test_integers(tmp_path, kind):
    dtype = "bool" if kind in ("LESS", "NOT_EQUAL") else "int32"
    tensors = [Tensor("x0", (3, 4), "int32"), Tensor("x1", (3, 4), "int32")]
    graph = Graph([*tensors, Tensor("y", (3, 4), dtype)], [Op(kind, ["x0", "x1"], ["y"])],
                  ["x0", "x1"], ["y"])  # fmt: skip
    path = tmp_path / "m.tflite"
    path.write_bytes(model(graph))
    divisors = rng.choice([-3, -2, -1, 1, 2, 5], (3, 4)).astype("int32")
    feeds = {"x0": rng.integers(-9, 9, (3, 4)).astype("int32"), "x1": divisors}
    agree(converted(path, feeds), litert(path, feeds))


@pytest.mark.parametrize("padding, strides, result", [
    (0, (2, 2), (1, 8, 10, 3)), (1, (2, 3), (1, 9, 15, 3)), (1, (2, 2), (1, 10, 12, 3)),
])  # fmt: skip
def test_transposed_convolution(tmp_path, padding, strides, result):
    held = [constant("shape", ints(*result)), constant("w", floats(3, 3, 3, 2))]
    op = Op("TRANSPOSE_CONV", ["shape", "w", "x"], ["y"], "TransposeConvOptions",
            {"Padding": padding, "StrideH": strides[0], "StrideW": strides[1]})  # fmt: skip
    graph = Graph([*held, Tensor("x", (1, 4, 5, 2)), Tensor("y", result)], [op], ["x"], ["y"])
    path = tmp_path / "m.tflite"
    path.write_bytes(model(graph))
    feeds = {"x": floats(1, 4, 5, 2)}
    agree(converted(path, feeds), litert(path, feeds))


@pytest.mark.parametrize("padding", [1, 2])
@pytest.mark.parametrize("kernel, strides", [
    ((3, 3), (2, 2)), ((2, 2), (2, 2)), ((5, 2), (1, 3)), ((1, 1), (2, 1)),
])  # fmt: skip
def test_mediapipes_transposed_convolution(tmp_path, padding, kernel, strides):
    """As TRANSPOSE_CONV of the size that it gives."""
    data = (1, 4, 5, 2)
    wanted = [
        s * (n - 1) + k - (max(k - (n - 1) % s - 1, 0) if padding == 1 else 0)
        for n, k, s in zip(data[1:3], kernel, strides, strict=True)
    ]
    held = [constant("shape", ints(1, *wanted, 3)), constant("w", floats(3, *kernel, 2)),
            constant("b", floats(3))]  # fmt: skip
    tensors = [*held, Tensor("x", data), Tensor("y", (1, *wanted, 3))]
    written = struct.pack("<3i", padding, *reversed(strides))
    ops = {
        "theirs": Op("TRANSPOSE_CONV", ["shape", "w", "x", "b"], ["y"], "TransposeConvOptions",
                     {"Padding": padding - 1, "StrideH": strides[0], "StrideW": strides[1]}, 3),
        "ours": Op("Convolution2DTransposeBias", ["x", "w", "b"], ["y"], custom=written),
    }  # fmt: skip
    paths = {name: tmp_path / f"{name}.tflite" for name in ops}
    for name, op in ops.items():
        paths[name].write_bytes(model(Graph(tensors, [op], ["x"], ["y"])))
    feeds = {"x": floats(*data)}
    agree(converted(paths["ours"], feeds), litert(paths["theirs"], feeds))


def test_a_composite_is_what_it_consists_of(tmp_path):
    """With a constant of its own, and two of them with one decomposition."""
    fields = {"DecompositionSubgraphIndex": 1, "Name": "aten.gelu.default",
              "CompositeAttributes": bytes(flexbuffers.Dumps({}))}  # fmt: skip
    ops = [
        Op("STABLEHLO_COMPOSITE", [source], [result], "StableHLOCompositeOptions", fields)
        for source, result in ("xa", "ay")
    ]
    inner = Graph([Tensor("u", (3, 4)), constant("k", np.float32(0.7)), Tensor("v", (3, 4)),
                   Tensor("w", (3, 4))],
                  [Op("MUL", ["u", "k"], ["v"], "MulOptions"), Op("TANH", ["v"], ["w"])],
                  ["u"], ["w"])  # fmt: skip
    outer = Graph([Tensor(n, (3, 4)) for n in "xay"], ops, ["x"], ["y"])
    path = tmp_path / "m.tflite"
    path.write_bytes(model(outer, inner))
    feeds = {"x": floats(3, 4)}
    agree(converted(path, feeds), litert(path, feeds))


def test_outputs_keep_their_names(tmp_path):
    """Also where two tensors share a name, and what makes it two is an output's."""
    ops = [Op("TANH", ["x"], ["y"]), Op("EXP", ["x"], ["z"], "ExpOptions"),
           Op("ABS", ["z"], ["y_1"], "AbsOptions")]  # fmt: skip
    graph = Graph([Tensor(n, (2,)) for n in ("x", "y", "z", "y_1")], ops, ["x"], ["y_1"])
    content = model(graph)
    path = tmp_path / "m.tflite"
    path.write_bytes(content.replace(b"\x01\0\0\0z\0", b"\x01\0\0\0y\0"))
    assert [each.name for each in tvmcomp.convert(path).graph.output] == ["y_1"]


def test_several_outputs(tmp_path):
    held = [constant("axis", ints(1).reshape(())), constant("sizes", ints(1, -1)),
            constant("k", ints(2).reshape(()))]  # fmt: skip
    ops = [
        Op("SPLIT", ["axis", "x"], ["a", "b"], "SplitOptions", {"NumSplits": 2}),
        Op("SPLIT_V", ["x", "sizes", "axis"], ["c", "d"], "SplitVOptions", {"NumSplits": 2}),
        Op("UNPACK", ["a"], ["e", "f"], "UnpackOptions", {"Axis": 0, "Num": 2}),
        Op("TOPK_V2", ["x", "k"], ["v", "i"], "TopKV2Options"),
        Op("ARG_MAX", ["x", "axis"], ["m"], "ArgMaxOptions", {"OutputType": 2}),
    ]
    tensors = [Tensor("x", (2, 4)), *held]
    tensors += [Tensor(n, s) for n, s in (("a", (2, 2)), ("b", (2, 2)), ("c", (2, 1)),
                ("d", (2, 3)), ("e", (2,)), ("f", (2,)), ("v", (2, 2)))]  # fmt: skip
    tensors += [Tensor("i", (2, 2), "int32"), Tensor("m", (2,), "int32")]
    path = tmp_path / "m.tflite"
    path.write_bytes(model(Graph(tensors, ops, ["x"], [*"bcdefvim"])))
    feeds = {"x": floats(2, 4)}
    agree(converted(path, feeds), litert(path, feeds))
