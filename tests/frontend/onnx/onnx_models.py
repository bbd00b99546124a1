"""Small ONNX models, and a float build of them to compare with ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from tvmcomp import targets
from tvmcomp.frontend import load_model
from tvmcomp.model import Model
from tvmcomp.passes.bodies import in_bodies
from tvmcomp.passes.lowering.legalizations import LEGALIZATIONS
from tvmcomp.passes.lowering.lower_block_matmul import lower_block_matmul
from tvmcomp.passes.lowering.lower_recurrent import lower_recurrent
from tvmcomp.passes.scheduled.expand_loops import expand_loops
from tvmcomp.tvm_import import tvm

relax = tvm.relax


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int | str | None, ...]],
    outputs: list[str],
    *,
    weights: dict[str, np.ndarray] | None = None,
    opset: int = 17,
    types: dict[str, int] | None = None,
    functions: list[onnx.FunctionProto] = (),
    opsets: list[onnx.OperatorSetIdProto] = (),
) -> Path:
    """Write a model to ``path``; inputs and outputs are float unless ``types`` says otherwise."""
    types = types or {}

    def value(name: str, shape: object) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, types.get(name, TensorProto.FLOAT), shape)

    graph = helper.make_graph(
        nodes,
        "test",
        [value(name, shape) for name, shape in inputs.items()],
        [value(name, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset), *opsets], functions=functions
    )
    model.ir_version = min(model.ir_version, 10)
    onnx.save(model, path)
    return path


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def operators(model: Model) -> list[str]:
    """Return the operators of ``main`` in order, without ``relax.``."""
    found = []
    for block in model.mod["main"].body.blocks:
        for binding in block.bindings:
            if isinstance(binding.value, tvm.ir.Call):
                found.append(binding.value.op.name.removeprefix("relax."))
    return found


def names(model: Model) -> list[str]:
    """Return the variables of ``main`` in order."""
    blocks = model.mod["main"].body.blocks
    return [binding.var.name for block in blocks for binding in block.bindings]


def run(model: Model, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Build the float module with our kernels where TVM has none or others, and run it."""
    here = targets.detect()
    mod = in_bodies(lambda each: lower_block_matmul(lower_recurrent(each, here), here))(model.mod)
    mod = expand_loops(relax.transform.LegalizeOps(LEGALIZATIONS)(mod), here)
    executable = tvm.compile(mod, tvm.target.Target({"kind": "llvm", "num-cores": 2}))
    machine = relax.VirtualMachine(executable, tvm.cpu())
    arguments = [tvm.runtime.tensor(feeds[spec.name]) for spec in model.signature.inputs]
    result = machine["main"](*arguments)
    return [result.numpy()] if hasattr(result, "numpy") else [each.numpy() for each in result]


def check(path: Path, feeds: dict[str, np.ndarray]) -> Model:
    """Import ``path`` with the shapes of ``feeds``, and compare with ONNX Runtime at 1e-4."""
    model = load_model(path, {name: array.shape for name, array in feeds.items()})
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    wanted = session.run(None, feeds)
    assert [spec.name for spec in model.signature.inputs] == [v.name for v in session.get_inputs()]
    assert [spec.name for spec in model.signature.outputs] == [
        v.name for v in session.get_outputs()
    ]
    for got, want, spec in zip(run(model, feeds), wanted, model.signature.outputs, strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        assert (spec.shape, spec.dtype) == (want.shape, str(want.dtype))
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * max(np.ptp(want), 1e-3))
    return model
