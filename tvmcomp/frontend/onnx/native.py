"""Refuse what onnx's native code can't be trusted with, before it sees it.

onnx's shape inference takes some attributes on trust. A wrong one makes it read memory that isn't
its own, or ask for as much as the attribute says, and the process ends without an error. These
are all that 460,000 random nodes found; tests/frontend/onnx/test_native.py draws more, and takes
them through the whole import.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import onnx
import onnx.inliner

from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.file import opset_version
from tvmcomp.frontend.onnx.limits import HIGHEST_RANK
from tvmcomp.frontend.onnx.support import nodes_of


def check_attributes(model: onnx.ModelProto, *, where: str) -> None:
    """Refuse nodes that end the process in onnx's shape inference; functions are inlined already.

    Raises:
        ModelError: naming the node and the attribute.
    """
    for node in nodes_of(model.graph):
        fault = _fault(node)
        if fault:
            raise ModelError(
                f"node {node.name or node.op_type!r} ({node.op_type}) can't be compiled: {fault}",
                where=where,
                hint="ONNX Runtime refuses such a node too; mend the exporter, or the model.",
            )


def inline_functions(model: onnx.ModelProto, *, where: str) -> onnx.ModelProto:
    """Return ``model`` with its own functions inlined.

    Functions written in another operator set than the model are converted, for which onnx infers
    shapes in the middle of its work: that is done in a process of its own, whose end is an answer.

    Raises:
        ModelError: a function can't be converted to the operator set of the model.
    """
    version = opset_version(model)
    if all(
        entry.version == version
        for function in model.functions
        for entry in function.opset_import
        if entry.domain in ("", "ai.onnx")
    ):
        return onnx.inliner.inline_local_functions(model)
    worker = subprocess.run(
        [sys.executable, "-c", _INLINE],
        input=model.SerializeToString(),
        capture_output=True,
        check=False,
    )
    if worker.returncode:
        reason = worker.stderr.decode(errors="replace").strip().rsplit("\n", 1)[-1]
        if worker.returncode < 0:
            reason = "onnx's converter crashed"
        raise ModelError(
            f"has functions of another operator set that can't be converted: {reason[:300]}",
            where=where,
            hint=f"Export its functions in operator set {version}, or inline them (onnx.inliner).",
        )
    return onnx.ModelProto.FromString(worker.stdout)


#: What the process runs: a model from standard input, inlined, to standard output.
_INLINE = """
import sys, onnx, onnx.inliner
model = onnx.ModelProto.FromString(sys.stdin.buffer.read())
model = onnx.inliner.inline_local_functions(model, convert_version=True)
sys.stdout.buffer.write(model.SerializeToString())
"""


def _fault(node: onnx.NodeProto) -> str | None:
    check = _CHECKS.get(node.op_type)
    if check is None or node.domain not in ("", "ai.onnx"):
        return None
    name, allowed, text = check
    for attribute in node.attribute:
        if attribute.name == name and not allowed(attribute.i, len(node.output)):
            return f"{name} is {attribute.i}, {text}"
    return None


#: Operator -> attribute, whether a value of it suits so many outputs, and what a wrong one is.
_CHECKS: dict[str, tuple[str, Callable[[int, int], bool], str]] = {
    "GatherND": ("batch_dims", lambda value, _: 0 <= value < HIGHEST_RANK, "not a number of axes"),
    "LayerNormalization": (
        "axis",
        lambda value, _: -HIGHEST_RANK <= value < HIGHEST_RANK,
        "not an axis",
    ),
    "Split": (
        "num_outputs",
        lambda value, outputs: value == outputs,
        "which is not how many outputs it has",
    ),
}
