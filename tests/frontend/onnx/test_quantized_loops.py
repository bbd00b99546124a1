"""Q/DQ in the body of a loop that stays a loop means what it means elsewhere."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tvmcomp import targets
from tvmcomp.codegen.compile import run_here
from tvmcomp.frontend import load_model
from tvmcomp.loops import loop_bodies
from tvmcomp.passes.bodies import in_bodies
from tvmcomp.passes.integers.realize import realize
from tvmcomp.passes.pipeline import canonical
from tvmcomp.passes.rewriter import op_name
from tvmcomp.progress import NoProgress
from tvmcomp.quantize import QuantConfig
from tvmcomp.quantize.precision import choose_precision

node = helper.make_node
TRIPS = 25


class QuantizedLoop:
    """A state that an operator of integers turns into the next, and gives as a row at each trip.

    Attributes:
        model: one Loop, and a product by a weight behind it.
        x: what it begins with.
    """

    def __init__(self, kind, opset, ends, seed):
        self.rng, self.opset = np.random.default_rng(seed), opset
        self.held, self.nodes = {}, []
        shape = {"Conv": (1, 4, 5, 5)}.get(kind, (3, 4))
        self.x = self.rng.normal(size=shape).astype("float32")
        per_channel = bool(self.rng.random() < 0.5)
        self.constant("step", self.rng.normal(size=shape).astype("float32") / 4)
        self.emit("Add", ["x", "step"], "moved")
        data = self.quantized("moved", 0.02)
        if kind == "Conv":
            weight = self.weight("w", (4, 4, 3, 3), 0, per_channel, 0.003)
            self.emit("Conv", [data, weight], "made", pads=[1, 1, 1, 1])
        elif kind == "Gemm":
            weight = self.weight("w", (4, 4), 0, per_channel, 0.008)
            self.emit("Gemm", [data, weight], "made", transB=1)
        elif kind == "MatMul":
            self.emit("MatMul", [data, self.weight("w", (4, 4), 1, per_channel, 0.008)], "made")
        else:
            self.emit("Sub", [data, self.quantized("x", 0.01)], "made")
        self.emit("Sin", [self.quantized("made", 0.03)], "y")
        self.emit("Identity", ["y"], "row")
        if ends:
            self.constant("end", np.float32(-1e9))
            self.emit("ReduceMax", ["y"], "top", keepdims=0)
            self.emit("Greater", ["top", "end"], "going")
        else:
            self.emit("Identity", ["c"], "going")
        self.model = self._model(shape)

    def constant(self, name, array):
        self.held[name] = np.asarray(array)
        return name

    def emit(self, operator, inputs, output, **attributes):
        self.nodes.append(node(operator, inputs, [output], name=f"{output}_made", **attributes))
        return output

    def quantized(self, name, scale):
        kind = self.rng.choice(["int8", "uint8"])
        zero = self.rng.integers(-9, 10) + (128 if kind == "uint8" else 0)
        pair = [self.constant(f"{name}_s", np.float32(scale * self.rng.uniform(0.7, 1.3))),
                self.constant(f"{name}_z", np.array(zero, kind))]  # fmt: skip
        self.emit("QuantizeLinear", [name, *pair], f"{name}_q")
        return self.emit("DequantizeLinear", [f"{name}_q", *pair], f"{name}_d")

    def weight(self, name, shape, axis, per_channel, scale):
        sizes = (shape[axis],) if per_channel else ()
        self.constant(name, self.rng.integers(-127, 128, shape).astype("int8"))
        pair = [self.constant(f"{name}_s", self.rng.uniform(0.7, 1.3, sizes).astype("float32")),
                self.constant(f"{name}_z", np.zeros(sizes, "int8"))]  # fmt: skip
        self.held[f"{name}_s"] = np.float32(scale) * self.held[f"{name}_s"]
        attributes = {"axis": axis} if per_channel else {}
        return self.emit("DequantizeLinear", [name, *pair], f"{name}_d", **attributes)

    def _model(self, shape):
        body = helper.make_graph(
            self.nodes,
            "body",
            [helper.make_tensor_value_info("i", TensorProto.INT64, []),
             helper.make_tensor_value_info("c", TensorProto.BOOL, []),
             helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("going", TensorProto.BOOL, []),
             *(helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("y", "row"))],
            [numpy_helper.from_array(array, name) for name, array in self.held.items()],
        )  # fmt: skip
        graph = helper.make_graph(
            [node("Loop", ["trips", "", "x0"], ["last", "rows"], name="loop", body=body),
             node("Neg", ["last"], ["given"], name="neg"),
             node("Mul", ["rows", "two"], ["all"], name="mul")],
            "quantized",
            [helper.make_tensor_value_info("x0", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("given", "all")],
            [numpy_helper.from_array(np.array(TRIPS), "trips"),
             numpy_helper.from_array(np.float32(2), "two")],
        )  # fmt: skip
        opset = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8)

    def wanted(self):
        """What ONNX Runtime gives, operator by operator."""
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(self.model.SerializeToString(), options)
        return session.run(None, {"x0": self.x})


def chosen(case, monkeypatch):
    """The module as it is built, of which no loop is written out."""
    monkeypatch.setattr("tvmcomp.frontend.onnx.loops.SHORT_NODES", 0)
    here = targets.detect()
    config, model = QuantConfig(), load_model(case.model)
    return choose_precision(model, here, here, None, None, config, NoProgress(), None)


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("opset", [13, 17, 21])
@pytest.mark.parametrize("kind", ["Conv", "Gemm", "MatMul", "Sub"])
def test_the_same_numbers(kind, opset, ends, monkeypatch):
    case = QuantizedLoop(kind, opset, ends, seed=opset + ends)
    choice = chosen(case, monkeypatch)
    given = run_here(choice.mod, targets.detect(), [case.x], half=choice.half)[0]
    for ours, theirs in zip(given, case.wanted(), strict=False):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["Conv", "Gemm", "MatMul"])
def test_in_integers(kind, monkeypatch):
    mod = canonical(chosen(QuantizedLoop(kind, 17, True, seed=0), monkeypatch).mod)
    vnni = targets.load("cascadelake")
    mod = in_bodies(lambda each: realize(each, vnni))(mod)
    (body,) = (mod[name] for name in loop_bodies(mod))
    made = [binding for block in body.body.blocks for binding in block.bindings]
    products = {"matmul", "nn.conv2d"}
    (found,) = (each for each in made if op_name(each.value) in products)
    assert found.var.ty.dtype == "int32"
