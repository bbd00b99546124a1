"""Whole small networks: compiled by us, against LiteRT's interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from litert import Interpreter, agree, converted, litert
from tflite_models import Graph, Op, Tensor, constant, model

import tvmcomp
from tvmcomp.frontend import load_model
from tvmcomp.loops import loop_bodies

rng = np.random.default_rng(3)
CONV = {"StrideH": 1, "StrideW": 1, "Padding": 0}


def floats(*shape: int) -> np.ndarray:
    return rng.normal(0, 1, shape).astype("float32")


def quantized_weight(name: str, shape: tuple[int, ...], axis: int) -> Tensor:
    array = floats(*shape)
    scale = np.abs(array).max(tuple(a for a in range(len(shape)) if a != axis)) / 127
    spread = scale.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    stored = np.round(array / spread).astype("int8")
    return constant(name, stored, scale=scale, zero=np.zeros_like(scale), axis=axis)


def quantized_bias(name: str, weight: Tensor, scale: float) -> Tensor:
    units = scale * np.asarray(weight.scale, "float32")
    stored = rng.integers(-2000, 2000, weight.shape[weight.axis]).astype("int32")
    return constant(name, stored, scale=units, zero=np.zeros_like(units))


def integer_network() -> Graph:
    """Convolutions, a residual, a pool and a dense layer, int8 in and out."""
    w0, w1 = quantized_weight("w0", (8, 3, 3, 4), 0), quantized_weight("w1", (1, 3, 3, 8), 3)
    w2 = quantized_weight("w2", (5, 8), 0)
    w2.scale, w2.zero = np.array([0.02]), np.array([0])

    def activation(name: str, shape: tuple[int, ...], scale: float, zero: int) -> Tensor:
        return Tensor(name, shape, "int8", scale=scale, zero=zero)

    tensors = [
        activation("x", (1, 8, 8, 4), 0.02, 3), w0, quantized_bias("b0", w0, 0.02),
        activation("a", (1, 8, 8, 8), 0.05, -128), w1, quantized_bias("b1", w1, 0.05),
        activation("d", (1, 8, 8, 8), 0.08, 4), activation("r", (1, 8, 8, 8), 0.09, -20),
        constant("axes", np.array([1, 2], "int32")), activation("m", (1, 1, 1, 8), 0.05, -60),
        w2, quantized_bias("b2", w2, 0.05), activation("y", (1, 5), 0.06, 7),
    ]  # fmt: skip
    ops = [
        Op("CONV_2D", ["x", "w0", "b0"], ["a"], "Conv2DOptions",
           {**CONV, "FusedActivationFunction": 1}),
        Op("DEPTHWISE_CONV_2D", ["a", "w1", "b1"], ["d"], "DepthwiseConv2DOptions",
           {**CONV, "DepthMultiplier": 1}),
        Op("ADD", ["a", "d"], ["r"], "AddOptions", {}),
        Op("MEAN", ["r", "axes"], ["m"], "ReducerOptions", {"KeepDims": True}),
        Op("FULLY_CONNECTED", ["m", "w2", "b2"], ["y"], "FullyConnectedOptions", {}),
    ]  # fmt: skip
    return Graph(tensors, ops, ["x"], ["y"])


def test_all_anchors_of_an_integer_network_run_in_integers(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(model(integer_network()))
    artifact = tvmcomp.build(path)
    anchors = [op for op in artifact.metadata.operators if op.macs]
    assert len(anchors) == 3
    assert {op.dtype for op in anchors} == {"int8"}
    feeds = {"x": rng.integers(-128, 128, (1, 8, 8, 4)).astype("int8")}
    with tvmcomp.load(artifact) as session:
        agree([*session.run(feeds).values()], litert(path, feeds, reference=True))


@pytest.mark.parametrize("kind", ["float16", "int8"])
def test_stored_weights(tmp_path, kind):
    """Half-precision and 8-bit weights of a float network."""
    if kind == "int8":
        weight = quantized_weight("w", (6, 3, 3, 3), 0)
        tensors, ops, name = [weight], [], "w"
        real = weight.data * weight.scale.reshape(-1, 1, 1, 1)
    else:
        half = floats(6, 3, 3, 3).astype("float16")
        tensors = [constant("h", half), Tensor("w", half.shape)]
        ops, name, real = [Op("DEQUANTIZE", ["h"], ["w"])], "w", half
    tensors += [constant("b", floats(6)), Tensor("x", (1, 7, 7, 3)), Tensor("y", (1, 7, 7, 6))]
    ops += [Op("CONV_2D", ["x", name, "b"], ["y"], "Conv2DOptions", CONV)]
    path, plain = tmp_path / "m.tflite", tmp_path / "plain.tflite"
    path.write_bytes(model(Graph(tensors, ops, ["x"], ["y"])))
    held = [constant("w", real.astype("float32")), *tensors[-3:]]
    plain.write_bytes(model(Graph(held, ops[-1:], ["x"], ["y"])))
    feeds = {"x": floats(1, 7, 7, 3)}
    agree(converted(path, feeds), litert(plain, feeds))


def test_a_free_batch_is_the_files_own_unless_asked(tmp_path):
    tensors = [
        Tensor("x", (1, 6, 6, 3), signature=(-1, 6, 6, 3)), constant("w", floats(4, 3, 3, 3)),
        constant("b", floats(4)), Tensor("y", (1, 3, 3, 4), signature=(-1, 3, 3, 4)),
    ]  # fmt: skip
    op = Op(
        "CONV_2D", ["x", "w", "b"], ["y"], "Conv2DOptions", {**CONV, "StrideH": 2, "StrideW": 2}
    )
    path = tmp_path / "m.tflite"
    path.write_bytes(model(Graph(tensors, [op], ["x"], ["y"])))
    assert load_model(path).signature.outputs[0].shape == (1, 3, 3, 4)
    artifact = tvmcomp.build(path, shapes={"x": (5, 6, 6, 3)})
    feeds = {"x": floats(5, 6, 6, 3)}
    with tvmcomp.load(artifact) as session:
        agree([*session.run(feeds).values()], litert(path, feeds))


def streaming() -> tuple[Graph, Graph]:
    """A variable of three frames that starts as 7; each run appends one and sums up."""
    handle = Tensor("v", (), "resource")
    options = {"SharedName": "frames"}
    make = Op("VAR_HANDLE", [], ["v"], "VarHandleOptions", options)
    main = Graph(
        [handle, Tensor("x", (1, 1, 2)), Tensor("old", (1, 3, 2)), Tensor("all", (1, 4, 2)),
         constant("begin", np.array([0, 1, 0], "int32")),
         constant("size", np.array([-1, -1, -1], "int32")), Tensor("new", (1, 3, 2)),
         constant("axis", np.array([1], "int32")), Tensor("y", (1, 2))],
        [Op("CALL_ONCE", [], [], "CallOnceOptions", {"InitSubgraphIndex": 1}), make,
         Op("READ_VARIABLE", ["v"], ["old"], "ReadVariableOptions"),
         Op("CONCATENATION", ["old", "x"], ["all"], "ConcatenationOptions", {"Axis": 1}),
         Op("SLICE", ["all", "begin", "size"], ["new"], "SliceOptions"),
         Op("ASSIGN_VARIABLE", ["v", "new"], [], "AssignVariableOptions"),
         Op("SUM", ["all", "axis"], ["y"], "ReducerOptions")],
        ["x"], ["y"],
    )  # fmt: skip
    start = constant("start", np.full((1, 3, 2), 7, "float32"))
    first = Graph([handle, start], [make, Op("ASSIGN_VARIABLE", ["v", "start"], [],
                  "AssignVariableOptions")], [], [])  # fmt: skip
    return main, first


def test_a_session_keeps_variables(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(model(*streaming()))
    artifact = tvmcomp.build(path)
    artifact.save(tmp_path / "m.tvmc")
    frames = [floats(1, 1, 2) for _ in range(8)]
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    wanted = []
    for frame in frames:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], frame)
        interpreter.invoke()
        wanted.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    with tvmcomp.load(tmp_path / "m.tvmc") as session:
        for _ in range(2):
            given = [session.run({"x": frame}) for frame in frames]
            assert all(set(each) == {"y"} for each in given)
            agree([each["y"] for each in given], wanted)
            session.reset()
        # Who gives the states gets them.
        state = np.zeros((1, 3, 2), "float32")
        outputs = session.run({"x": frames[0], "frames": state})
        np.testing.assert_allclose(outputs["y"], frames[0][:, 0])
        np.testing.assert_allclose(outputs["frames/next"][:, -1], frames[0][:, 0])
        agree([session.run({"x": frames[0]})["y"]], wanted[:1])


def test_a_converted_stream_is_still_one(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(model(*streaming()))
    tvmcomp.convert(path, tmp_path / "m.onnx")
    (state,) = load_model(tmp_path / "m.onnx").states
    assert (state.input, state.output) == ("frames", "frames/next")
    assert (np.frombuffer(state.start, "float32") == 7).all()


def loop(trips: int = 5, most: float | None = None) -> list[Graph]:
    """While i < trips (and, with `most`, the sum of x is below it): x = tanh(x * w), i = i + 1."""
    scalar = ("i", (), "int32")
    main = Graph(
        [constant("zero", np.int32(0)), Tensor("x", (2, 3)), Tensor(*scalar), Tensor("y", (2, 3))],
        [Op("WHILE", ["zero", "x"], ["i", "y"], "WhileOptions",
            {"CondSubgraphIndex": 1, "BodySubgraphIndex": 2})], ["x"], ["y", "i"],
    )  # fmt: skip
    condition = Graph(
        [Tensor(*scalar), Tensor("x", (2, 3)), constant("n", np.int32(trips)),
         Tensor("more", (), "bool")],
        [Op("LESS", ["i", "n"], ["more"], "LessOptions")], ["i", "x"], ["more"],
    )  # fmt: skip
    if most is not None:
        condition.tensors += [
            constant("axes", np.array([0, 1], "int32")), Tensor("sum", ()),
            constant("end", np.float32(most)), Tensor("small", (), "bool"),
            Tensor("both", (), "bool"),
        ]  # fmt: skip
        condition.ops += [
            Op("SUM", ["x", "axes"], ["sum"], "ReducerOptions"),
            Op("LESS", ["sum", "end"], ["small"], "LessOptions"),
            Op("LOGICAL_AND", ["more", "small"], ["both"], "LogicalAndOptions"),
        ]
        condition.outputs = ["both"]
    body = Graph(
        [Tensor(*scalar), Tensor("x", (2, 3)), constant("one", np.int32(1)),
         constant("w", floats(3)), Tensor("j", (), "int32"), Tensor("p", (2, 3)),
         Tensor("z", (2, 3))],
        [Op("ADD", ["i", "one"], ["j"], "AddOptions"), Op("MUL", ["x", "w"], ["p"], "MulOptions"),
         Op("TANH", ["p"], ["z"])], ["i", "x"], ["j", "z"],
    )  # fmt: skip
    return [main, condition, body]


@pytest.mark.parametrize(
    "trips, most, kept", [(5, None, False), (3000, None, True), (9, 0.4, True), (9, -9.0, True)]
)
def test_a_loop(tmp_path, trips, most, kept):
    path = tmp_path / "m.tflite"
    path.write_bytes(model(*loop(trips, most)))
    feeds = {"x": floats(2, 3)}
    wanted = litert(path, feeds)
    agree(converted(path, feeds), wanted)
    (node,) = (n for n in tvmcomp.convert(path).graph.node if n.op_type == "Loop")
    # A trip count, and no condition, or the other way.
    assert (bool(node.input[0]), bool(node.input[1])) == (most is None, most is not None)
    assert bool(loop_bodies(load_model(path).mod)) == kept
    with tvmcomp.load(tvmcomp.build(path), threads=1) as session:
        given = session.run(feeds)
    agree([given["y"], given["i"]], wanted)


def test_a_branch(tmp_path):
    def branch(kind: str) -> Graph:
        return Graph([Tensor("x", (2, 3)), Tensor("y", (2, 3))], [Op(kind, ["x"], ["y"])], ["x"],
                     ["y"])  # fmt: skip

    main = Graph(
        [Tensor("c", (1,), "bool"), Tensor("x", (2, 3)), Tensor("y", (2, 3))],
        [Op("IF", ["c", "x"], ["y"], "IfOptions",
            {"ThenSubgraphIndex": 1, "ElseSubgraphIndex": 2})], ["c", "x"], ["y"],
    )  # fmt: skip
    path = tmp_path / "m.tflite"
    path.write_bytes(model(main, branch("TANH"), branch("RELU")))
    for chosen in (True, False):
        feeds = {"c": np.array([chosen]), "x": floats(2, 3)}
        agree(converted(path, feeds), litert(path, feeds))


def test_integer_weights_of_a_float_network_are_quantized_with_its_activations(tmp_path):
    weight = quantized_weight("w", (16, 3, 3, 16), 0)
    tensors = [weight, constant("b", floats(16)), Tensor("x", (1, 12, 12, 16)),
               Tensor("y", (1, 12, 12, 16))]  # fmt: skip
    op = Op("CONV_2D", ["x", "w", "b"], ["y"], "Conv2DOptions", CONV)
    path = tmp_path / "m.tflite"
    path.write_bytes(model(Graph(tensors, [op], ["x"], ["y"])))
    samples = [{"x": floats(1, 12, 12, 16)} for _ in range(4)]
    artifact = tvmcomp.build(path, quant="int8", calibration=samples)
    (anchor,) = (each for each in artifact.metadata.operators if each.macs)
    assert anchor.dtype == "int8"
    (wanted,) = litert(path, samples[0])
    with tvmcomp.load(artifact) as session:
        given = session.run(samples[0])["y"]
    assert np.abs(given - wanted).max() < 0.02 * np.abs(wanted).max()
