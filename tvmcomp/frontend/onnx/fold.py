"""Simplify an ONNX graph before import: inline functions, fold constants, drop dead nodes.

onnxscript's folder does the work. It evaluates with ONNX's own reference implementation, keeps
the names of the nodes that stay, inlines an ``If`` whose condition is known, leaves
QuantizeLinear/DequantizeLinear of weights alone, and its size limits are arguments. (onnxslim
folds as well, but it also fuses and renames operators, and reports name them.)
"""

from __future__ import annotations

import contextlib

import onnx
import onnx.inliner
import onnx_ir as ir
import onnx_ir.passes.common as passes
from onnxscript.optimizer import fold_constants

from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.batch_norm import fold_batch_norms
from tvmcomp.frontend.onnx.file import opset_version
from tvmcomp.frontend.onnx.support import is_supported, nodes_of

#: Never folded: they say how a weight is quantized.
_QUANTIZATION = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}

#: No tensor above this many elements is made by folding (an Expand or Range to the size of memory).
_LARGEST_FOLDED_TENSOR = 1 << 28


def simplify(model: onnx.ModelProto, *, where: str) -> onnx.ModelProto:
    """Return ``model`` with functions inlined, constants folded and dead nodes removed.

    All shapes of inputs must be static. A node without a name gets one first, its operator and
    its index in the file (``Conv_12``), so that reports can name it.

    Raises:
        ModelError: a constant expression of the model can't be evaluated.
    """
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    model = _inline_functions(model)
    graph_model = ir.serde.deserialize_model(model)
    try:
        folding = ir.passes.PassManager(
            [_Fold(), passes.RemoveUnusedNodesPass()], steps=4, early_stop=True
        )
        folding(graph_model)
        fold_batch_norms(graph_model.graph)
        ir.passes.Sequential(
            passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
            passes.LiftSubgraphInitializersToMainGraphPass(),
            passes.RemoveUnusedNodesPass(),
        )(graph_model)
    except (RuntimeError, ValueError, TypeError, ir.passes.PassError) as error:
        cause = error.__cause__ or error
        raise ModelError(
            f"a constant expression can't be evaluated: {' '.join(str(cause).split())[:300]}",
            where=where,
            hint="Does it run in ONNX Runtime with these shapes? If so, report it.",
        ) from error
    return ir.serde.serialize_model(graph_model)


class _Fold(ir.passes.InPlacePass):  # type: ignore[misc]
    """onnxscript's constant folder, as a step that says whether it changed something."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        result = fold_constants(
            model,
            onnx_shape_inference=True,
            input_size_limit=_LARGEST_FOLDED_TENSOR,
            output_size_limit=_LARGEST_FOLDED_TENSOR,
            should_fold=_should_fold,
        )
        return ir.passes.PassResult(model, result.modified)


def _should_fold(node: ir.Node) -> bool | None:
    # None would mean "by the default rules", which keep ConstantOfShape.
    return node.op_type not in _QUANTIZATION


def _inline_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Inline the model's own functions, and the standard's that the importer lacks."""
    if model.functions:
        model = onnx.inliner.inline_local_functions(model, convert_version=True)
    tried: set[tuple[str, str]] = set()
    # A function's body may call other functions: repeat until nothing new appears.
    while missing := _missing_functions(model) - tried:
        tried |= missing
        for function in sorted(missing):
            # The inliner refuses some bodies; the operator is then reported as unsupported.
            with contextlib.suppress(RuntimeError):
                model = onnx.inliner.inline_selected_functions(
                    model, [function], inline_schema_functions=True
                )
    return model


def _missing_functions(model: onnx.ModelProto) -> set[tuple[str, str]]:
    opset = opset_version(model)
    return {
        (node.domain, node.op_type)
        for node in nodes_of(model.graph)
        if not is_supported(node) and _has_function_body(node, opset)
    }


def _has_function_body(node: onnx.NodeProto, opset: int) -> bool:
    if node.domain not in ("", "ai.onnx"):
        return False
    try:
        schema = onnx.defs.get_schema(node.op_type, opset)
    except onnx.defs.SchemaError:
        return False
    return bool(schema.has_function or schema.has_context_dependent_function)
