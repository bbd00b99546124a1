"""Operators that are others in one: each becomes nodes of the standard before anything else looks.

A rule writes the nodes that take a node's place. So the shapes of its results are inferred, and
what is quantized becomes the ``DequantizeLinear -> operator -> QuantizeLinear`` that ``realize``
turns into integers.
"""

from __future__ import annotations

import onnx

from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.block_weights import add_domain
from tvmcomp.frontend.onnx.node_facts import GraphFacts
from tvmcomp.frontend.onnx.quantized_lstm import DOMAIN
from tvmcomp.frontend.onnx.rewrites import fused, quantized, quantized_products
from tvmcomp.frontend.onnx.rewrites.rewriting import Rewriting, Rule
from tvmcomp.frontend.onnx.support import nodes_of, subgraphs_of

#: Domain and operator -> what writes it otherwise.
RULES: dict[tuple[str, str], Rule] = {**fused.RULES, **quantized.RULES, **quantized_products.RULES}


def rewrite(model: onnx.ModelProto, opset: int, *, where: str) -> None:
    """Apply the rules to every node of ``model``, in place, in subgraphs as well.

    Raises:
        ModelError: a node's inputs or attributes are not those of its operator.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    _rewrite(model.graph, opset, constants, where)
    if any(node.domain == DOMAIN for node in nodes_of(model.graph)):
        add_domain(model)


def _rewrite(
    graph: onnx.GraphProto, opset: int, constants: dict[str, onnx.TensorProto], where: str
) -> None:
    constants = {**constants, **{tensor.name: tensor for tensor in graph.initializer}}
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        for subgraph in subgraphs_of(node):
            _rewrite(subgraph, opset, constants, where)
        domain = "" if node.domain == "ai.onnx" else node.domain
        rule = RULES.get((domain, node.op_type))
        if rule is None:
            graph.node.append(node)
            continue
        rewriting = Rewriting(node, opset, constants)
        try:
            rule(rewriting)
        # An attribute is missing or of another type than its operator's, which no checker knows.
        except Exception as error:
            facts = GraphFacts().node(node, opset)
            reason = error if isinstance(error, ValueError) else repr(error)
            raise ModelError(
                f"{facts} can't be compiled: {reason}",
                where=where,
                hint="Does it run in ONNX Runtime? If so, report it.",
            ) from error
        graph.node.extend(rewriting.nodes)
        graph.value_info.extend(rewriting.infos)
