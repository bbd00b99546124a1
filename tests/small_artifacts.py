"""Small compiled networks for the tests of the artifact, the runtime and their commands."""

from __future__ import annotations

import functools
import platform
from typing import TypedDict

import numpy as np

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.artifact.code import Code
from tvmcomp.artifact.reference import Reference
from tvmcomp.codegen.native.emit import emit
from tvmcomp.codegen.native.link import link_shared
from tvmcomp.model import Operator, Signature, TensorSpec
from tvmcomp.passes.lowered import Lowered
from tvmcomp.targets.description import TargetDescription
from tvmcomp.tvm_import import tvm

X86 = TargetDescription(
    name="test-x86",
    description="any x86-64",
    family="x86",
    triple="x86_64-linux-gnu",
    link_triple="x86_64-linux-gnu",
)
ARM = TargetDescription(
    name="test-arm",
    description="any 64-bit ARM",
    family="arm",
    triple="aarch64-linux-gnu",
    link_triple="aarch64-linux-gnu",
)
HERE = ARM if platform.machine() == "aarch64" else X86

SAMPLES, FEATURES, CLASSES = 1, 8, 4
ROWS, STEPS = 8, 1_000_000
DENSE_SIGNATURE = Signature(
    inputs=(TensorSpec("x", (SAMPLES, FEATURES), "float32"),),
    outputs=(
        TensorSpec("y", (SAMPLES, CLASSES), "float32"),
        TensorSpec("z", (SAMPLES, CLASSES), "float32"),
    ),
)
ROWS_SIGNATURE = Signature(
    (TensorSpec("x", (ROWS,), "float32"),), (TensorSpec("y", (ROWS,), "float32"),)
)
ONE_SIGNATURE = Signature((TensorSpec("x", (1,), "float32"),), (TensorSpec("y", (1,), "float32"),))


def dense_weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Weights of the dense network: ``w`` (8, 4) float32 and ``b`` (4,) float32."""
    random = np.random.default_rng(seed)
    return {
        "w": random.standard_normal((FEATURES, CLASSES)).astype("float32"),
        "b": random.standard_normal(CLASSES).astype("float32"),
    }


def dense_reference(x: np.ndarray, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the dense network must give."""
    y = np.maximum(x @ weights["w"] + weights["b"], 0)
    return {"y": y, "z": y * 2}


def dense_artifact(
    target: TargetDescription = HERE, *, with_reference: bool = True, source: str = "dense.onnx"
) -> Artifact:
    """relu(x @ w + b) and its double: one input, two outputs, two constants."""
    weights = dense_weights()
    x = np.random.default_rng(1).standard_normal((SAMPLES, FEATURES)).astype("float32")
    return Artifact.create(
        **_dense_library(target.name),
        constants=weights,
        target=target,
        signature=DENSE_SIGNATURE,
        source=source,
        source_digest="0" * 64,
        operators=(Operator("dense", "matmul", "float32", macs=FEATURES * CLASSES),),
        reference=Reference({"x": x}, dense_reference(x, weights)) if with_reference else None,
    )


def one_kernel_artifact(behaviour: str) -> Artifact:
    """x (1,) float32 -> y (1,) float32 from a kernel that never ends ("endless"), aborts its
    process ("abort"), or behaves ("double")."""
    return Artifact.create(
        **_one_kernel_library(behaviour),
        constants={},
        target=HERE,
        signature=ONE_SIGNATURE,
        source=f"{behaviour}.onnx",
        source_digest="0" * 64,
    )


def parallel_artifact() -> Artifact:
    """x (ROWS,) float32 -> y = x * STEPS by addition: some ms on one thread; threads share the
    rows."""
    return Artifact.create(
        **_parallel_library(),
        constants={},
        target=HERE,
        signature=ROWS_SIGNATURE,
        source="parallel.onnx",
        source_digest="0" * 64,
    )


def parallel_reference(x: np.ndarray) -> np.ndarray:
    """What the parallel network must give: exactly, for integers up to 16."""
    return x * STEPS


@functools.cache
def _parallel_library() -> Linked:
    from tvm import relax, te

    def compute(x: te.Tensor) -> te.Tensor:
        k = te.reduce_axis((0, STEPS), "k")
        return te.compute((ROWS,), lambda i: te.sum(x[i], k), "y")

    x = relax.Var("x", relax.TensorType([ROWS], "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(builder.call_te(compute, x))
        builder.emit_func_output(result)
    schedule = tvm.s_tir.Schedule(builder.get())
    rows, _ = schedule.get_loops(schedule.get_sblock("y", "compute"))
    schedule.parallel(rows)
    return compile_and_link(schedule.mod, HERE, ROWS_SIGNATURE)


@functools.cache
def _one_kernel_library(behaviour: str) -> Linked:
    from tvm import relax, te, tirx

    def compute(x: te.Tensor) -> te.Tensor:
        if behaviour == "abort":
            return te.compute((1,), lambda i: x[i] + tirx.call_extern("float32", "abort"), "y")
        if behaviour == "double":
            return te.compute((1,), lambda i: x[i] * 2, "y")
        k = te.reduce_axis((0, 1 << 50), "k")
        return te.compute((1,), lambda i: te.sum(x[i] * k.var.astype("float32"), k), "y")

    x = relax.Var("x", relax.TensorType([1], "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(builder.call_te(compute, x))
        builder.emit_func_output(result)
    return compile_and_link(builder.get(), HERE, ONE_SIGNATURE)


@functools.cache
def _dense_library(target_name: str) -> Linked:
    return compile_and_link(
        dense_module(), {X86.name: X86, ARM.name: ARM}[target_name], DENSE_SIGNATURE
    )


def dense_module() -> tvm.IRModule:
    """What :func:`dense_artifact` is compiled from: ``main`` takes x, w and b."""
    from tvm import relax

    x = relax.Var("x", relax.TensorType([SAMPLES, FEATURES], "float32"))
    w = relax.Var("w", relax.TensorType([FEATURES, CLASSES], "float32"))
    b = relax.Var("b", relax.TensorType([CLASSES], "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x, w, b]):
        with builder.dataflow():
            y = builder.emit(relax.op.nn.relu(relax.op.add(relax.op.matmul(x, w), b)))
            z = builder.emit(relax.op.add(y, y))
            result = builder.emit_output(relax.Tuple([y, z]))
        builder.emit_func_output(result)
    return builder.get()


class Linked(TypedDict):
    """What :meth:`Artifact.create` takes of a network's code."""

    library: bytes
    code: Code


def compile_and_link(mod: tvm.IRModule, target: TargetDescription, signature: Signature) -> Linked:
    """The library of a module whose ``main`` is the network, by TVM's own schedules."""
    from tvm import relax

    with tvm.target.Target(target.tvm_target_dict()):
        kernels = relax.transform.LegalizeOps()(relax.backend.DispatchSortScan()(mod))
    lowered = Lowered(
        kernels, kernels, [], {}, {}, {}, unaligned_inputs=False, scheduled=kernels, target=target
    )
    code = emit([lowered], target, [signature])
    return Linked(library=link_shared(code, target), code=Code(code.kernels, code.driver))
