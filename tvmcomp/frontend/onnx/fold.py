"""Simplify an ONNX graph before import: inline functions, fold constants, drop dead nodes.

onnxscript's folder does the work. It evaluates with ONNX's own reference implementation, keeps
the names of the nodes that stay, and inlines an ``If`` whose condition is known. (onnxslim folds as
well, but it also fuses and renames operators, and reports name them.) What it may fold, and what
it may be given at all, :mod:`.foldable` and :mod:`.limits` say.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes
from onnxscript.optimizer._constant_folding import (
    FoldConstantsPass,
    Replacement,
    _reference_evaluator,
)

from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.batch_norm import fold_batch_norms
from tvmcomp.frontend.onnx.block_weights import keep_blocks
from tvmcomp.frontend.onnx.bounded import RULES, bound_sizes, has_open_sizes
from tvmcomp.frontend.onnx.defaults import state_defaults
from tvmcomp.frontend.onnx.file import opset_version
from tvmcomp.frontend.onnx.foldable import check_node, check_results, may_fold
from tvmcomp.frontend.onnx.kept_loops import LOOP, infer_branch_shapes, infer_loop_shapes
from tvmcomp.frontend.onnx.limits import MOST_ELEMENTS, UNROLLED_NODES, TensorLimits
from tvmcomp.frontend.onnx.loops import write_loops
from tvmcomp.frontend.onnx.microsoft import DOMAIN, import_microsoft
from tvmcomp.frontend.onnx.microsoft_shapes import infer_microsoft_shapes
from tvmcomp.frontend.onnx.native import check_attributes, inline_functions
from tvmcomp.frontend.onnx.quantized_lstm import DOMAIN as OWN_DOMAIN
from tvmcomp.frontend.onnx.quantized_lstm import keep_operator
from tvmcomp.frontend.onnx.recurrence.recognize import recognize_recurrence
from tvmcomp.frontend.onnx.rewrites import rewrite
from tvmcomp.frontend.onnx.standard_functions import inline_standard_functions
from tvmcomp.frontend.onnx.support import check_operators

# What it can't evaluate is computed, and no matter to warn of.
logging.getLogger("onnxscript.optimizer").setLevel(logging.ERROR)

#: Loops that are written out in loops, or read what others give.
_DEEPEST_LOOPS = 64


def simplify(model: onnx.ModelProto, limits: TensorLimits) -> onnx.ModelProto:
    """Return ``model`` with functions inlined, constants folded and dead nodes removed.

    All shapes of inputs must be static.

    Raises:
        ModelError: a constant expression of the model can't be evaluated, or the model exceeds a
            limit.
    """
    where = limits.where
    keep_operator(model)
    if model.functions:
        model = inline_functions(model, where=where)
        state_defaults(model.graph)
    check_attributes(model, where=where)
    rewrite(model, opset_version(model), where=where)
    import_microsoft(model)
    model = inline_standard_functions(model)
    model = _folded(model, limits)
    # Loops inside of loops come to light one after the other.
    inner = partial(simplify, limits=limits)
    most_nodes = UNROLLED_NODES + len(model.graph.node)
    for _ in range(_DEEPEST_LOOPS):
        # The shapes that a loop needs may come out of another.
        while recognize_recurrence(model):
            model = _folded(model, limits)
        if not write_loops(model, most_nodes, inner, where=where):
            break
        model = _folded(inline_standard_functions(model), limits)
    if has_open_sizes(model.graph):
        check_operators(model.graph, where=where, besides=RULES)
        model = _without_repeats(model)
        bound_sizes(model, where=where)
        model = _folded(model, limits)
    if keep_blocks(model):
        model = _folded(model, limits)
    return model


def _without_repeats(model: onnx.ModelProto) -> onnx.ModelProto:
    """What is computed twice of the same is computed once: two equal sizes have one name."""
    graph_model = ir.serde.deserialize_model(model)
    passes.CommonSubexpressionEliminationPass()(graph_model)
    return ir.serde.serialize_model(graph_model)


def _folded(model: onnx.ModelProto, limits: TensorLimits) -> onnx.ModelProto:
    """``model`` with constants folded and dead nodes removed."""
    where = limits.where
    try:
        graph_model = ir.serde.deserialize_model(model)
        folding = ir.passes.PassManager(
            [_Fold(opset_version(model), limits), passes.RemoveUnusedNodesPass()],
            steps=4,
            early_stop=True,
        )
        folding(graph_model)
        fold_batch_norms(graph_model.graph)
        ir.passes.Sequential(
            passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
            passes.LiftSubgraphInitializersToMainGraphPass(),
            passes.RemoveUnusedNodesPass(),
        )(graph_model)
    except (RuntimeError, ValueError, TypeError, ir.passes.PassError) as error:
        # A manager of passes wraps what a pass raises, one inside the other.
        cause: BaseException = error
        while not isinstance(cause, ModelError) and cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, ModelError):
            raise cause from None
        raise ModelError(
            f"a constant expression can't be evaluated: {' '.join(str(cause).split())[:300]}",
            where=where,
            hint="Does it run in ONNX Runtime with these shapes? If so, report it.",
        ) from error
    return ir.serde.serialize_model(graph_model)


class _Fold(ir.passes.InPlacePass):  # type: ignore[misc]
    """onnxscript's constant folder, as a step that says whether it changed something."""

    def __init__(self, opset: int, limits: TensorLimits) -> None:
        super().__init__()
        self.opset, self.limits = opset, limits

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        self.limits.restart()
        folder = _GuardedFolder(self.opset, self.limits)
        # log(0) and its like are values, as they are in a network that runs.
        with np.errstate(all="ignore"):
            return ir.passes.PassResult(model, folder(model).modified)


class _GuardedFolder(FoldConstantsPass):  # type: ignore[misc]
    """onnxscript's folder, which looks at every node before native code does."""

    def __init__(self, opset: int, limits: TensorLimits) -> None:
        super().__init__(
            shape_inference=True,
            input_size_limit=MOST_ELEMENTS,
            output_size_limit=MOST_ELEMENTS,
            should_fold=lambda node: may_fold(node, opset, limits),
        )
        self.limits = limits

    def visit_node(self, node: ir.Node, root: ir.Graph | ir.Function) -> None:
        """Infer what an If gives once its branches are done: a loop in them may give it."""
        super().visit_node(node, root)
        if node.op_type == "If" and not node.domain and node.graph is root:
            infer_branch_shapes(node)

    def process_node(self, node: ir.Node, is_function: bool) -> Any:
        """Infer what a loop gives; keep how a CastLike rounds, which onnxscript's Cast loses."""
        if (node.domain, node.op_type) == (OWN_DOMAIN, LOOP):
            infer_loop_shapes(node)
            check_results(node, self.limits)
        replacement = super().process_node(node, is_function)
        if replacement is None and (node.domain, node.op_type) == ("", "Split"):
            return self._split(node)
        if replacement is not None and node.op_type == "CastLike":
            for new in replacement.new_nodes:
                for name in {"saturate", "round_mode"} & set(node.attributes):
                    new.attributes[name] = node.attributes[name]
        return replacement

    def _split(self, node: ir.Node) -> Replacement | None:
        """The parts of a constant: onnxscript folds only what has one result."""
        given = [value for value in node.inputs if value is not None]
        if any(value.const_value is None or value.is_graph_input() for value in given):
            return None
        if not isinstance(node.graph, ir.Graph) or self.should_fold(node) is False:
            return None
        attributes = {name: each.value for name, each in node.attributes.items()}
        arrays = [value.const_value.numpy() for value in given]
        version = self._opset_imports[""]
        count = len(node.outputs)
        parts = _reference_evaluator.evaluate(
            "", "Split", version, *arrays, n_outputs=count, **attributes
        )
        if parts is None or len(parts) != count:
            return None
        results = []
        for output, part in zip(node.outputs, parts, strict=True):
            tensor = ir.tensor(np.array(part), given[0].dtype, name=output.name)
            kind = ir.TensorType(tensor.dtype)
            result = ir.Value(name=output.name, type=kind, shape=tensor.shape, const_value=tensor)
            if output.name:
                node.graph.register_initializer(result)
            results.append(result)
        return Replacement(results, [])

    def _prepare_folded_tensor(self, node: ir.Node, name: str | None, array: Any) -> Any:
        """Give a result its operator's type: onnx's reference gives some sums numpy's."""
        wanted = node.outputs[0].dtype
        if isinstance(array, np.ndarray) and wanted is not None and array.dtype != wanted.numpy():
            array = array.astype(wanted.numpy())
        return super()._prepare_folded_tensor(node, name, array)

    def _do_inference(self, node: ir.Node) -> None:
        check_node(node, self.limits)
        super()._do_inference(node)
        if node.domain in (DOMAIN, OWN_DOMAIN):
            infer_microsoft_shapes(node)
        check_results(node, self.limits)
