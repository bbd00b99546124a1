"""Which tensors and weights are fake-quantized: the rules of :mod:`tvmcomp.quantize.plan`, on ONNX.

With the same rules, ``tvmcomp build`` finds integers from product to product in what is written
out, wherever calibration would have put them:

1. An *anchor* (Conv, ConvTranspose; Gemm and MatMul with a constant right side) reads rounded data,
   and its weight is rounded per output channel.
2. Any other operator reads rounded data only where an integer operator reads its result.
3. What is computed in the registers of an anchor's kernel is not rounded in between.
4. A chain of element-wise operators on one tensor reads it rounded (a lookup table), unless it is
   cheap and follows an anchor.
5. Operators that move data, and maxima, take rounded data as it is.
6. A recurrent layer reads rounded data, and multiplies its state in 8 bits; its weights are rounded
   with a scale a row.
7. An embedding's table is rounded, a scale a row; what is looked up is not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias, cast

import numpy as np
import onnx

from tvmcomp.compress.fake_quantize import weights as roles
from tvmcomp.compress.fake_quantize.graph import Graph, attribute, kind_of
from tvmcomp.compress.fake_quantize.operator_kinds import (
    CONVOLUTIONS,
    PRODUCTS,
    RECURRENT,
    TWO_OPERANDS,
    is_average,
    is_cheap,
    moved,
    passes_through,
    unary_sources,
)
from tvmcomp.compress.fake_quantize.planned import Plan, Planned
from tvmcomp.compress.fake_quantize.weights import Weight
from tvmcomp.frontend.onnx.node_facts import attributes_of
from tvmcomp.frontend.onnx.recurrent_rules import KINDS, functions_of
from tvmcomp.quantize.reasons import IN_REGISTERS, KEPT_AS_ASKED, KEPT_BY_GUARD
from tvmcomp.recurrent import RecurrentCell

#: What an operator that stays float is planned as, and one that is rounded.
Kept: TypeAlias = Callable[[str], Planned]
Rounded: TypeAlias = Callable[..., Planned]

#: In shorter rows of an embedding the scales would take most of what rounding saves.
_SHORTEST_ROW = 16


def plan_model(
    model: onnx.ModelProto, keep_float: Collection[str] = (), harmful: Collection[str] = ()
) -> Plan:
    """Plan the rounding of ``model``, a prepared graph.

    Args:
        model: the graph.
        keep_float: nodes that stay float as a person asks.
        harmful: nodes that stay float because of what rounding them does.
    """
    reasons = dict.fromkeys(harmful, KEPT_BY_GUARD) | dict.fromkeys(keep_float, KEPT_AS_ASKED)
    return _Planner(Graph(model), reasons).plan()


class _Planner:
    def __init__(self, graph: Graph, keep_float: Mapping[str, str]) -> None:
        self.graph = graph
        self.keep_float = keep_float
        self.position = {name: i for i, node in enumerate(graph.nodes) for name in node.output}
        self.source = unary_sources(graph)
        #: Of what computes in integers.
        self.weights = {
            node.name: () if node.name in keep_float else self.weights_of(node)
            for node in graph.nodes
        }
        self.chain = self.anchor_chains()
        self.wanted = self.wanted_in_integers()
        #: Tensors that integers hold, as far as the plan has come.
        self.capable: set[str] = set()

    def plan(self) -> Plan:
        planned = []
        for node in self.graph.nodes:
            operator = self.operator(node)
            planned.append(operator)
            gives_float = kind_of(node) in RECURRENT or kind_of(node) == "Gather"
            if (operator.quantized and not gives_float) or node.output[0] in self.chain:
                self.capable.update(name for name in node.output if name)
        found: dict[str, list[Weight]] = {}
        for node in self.graph.nodes:
            for weight in self.weights[node.name] or self.stored(node):
                found.setdefault(weight.tensor, []).append(weight)
        first = tuple(uses[0] for uses in found.values())
        multiplied = {name: tuple(use.node for use in uses) for name, uses in found.items()}
        return Plan(tuple(planned), first, multiplied)

    def stored(self, node: onnx.NodeProto) -> tuple[Weight, ...]:
        """The weights that are stored rounded though the operator computes in float: it is the
        data's rounding that does harm."""
        if self.keep_float.get(node.name) != KEPT_BY_GUARD or kind_of(node) in RECURRENT:
            return ()
        return self.weights_of(node)

    def weights_of(self, node: onnx.NodeProto) -> tuple[Weight, ...]:
        """The weights of an operator that can be rounded; none of any other."""
        kind = kind_of(node)
        if kind in CONVOLUTIONS:
            groups = cast("int", attribute(node, "group", 1))
            role, axis = (roles.CONVOLUTION, 0) if kind == "Conv" else (roles.TRANSPOSED, 1)
            return self.weight(node, 1, role, axis, groups)
        if kind in PRODUCTS:
            if attribute(node, "transA", 0) or attribute(node, "alpha", 1.0) != 1.0:
                return ()
            if len(self.graph.shape(node.input[0]) or ()) < 2:
                return ()
            axis = 0 if attribute(node, "transB", 0) else 1
            return self.weight(node, 1, roles.PRODUCT, axis, rank=2)
        if kind in RECURRENT:
            rounded = self.weight(node, 1, roles.RECURRENT, 0)
            if rounded and self.is_bounded(node):
                directions = rounded[0].shape[0]
                rounded += self.weight(node, 2, roles.STATE, 0, directions)
            return rounded
        if kind == "Gather" and attribute(node, "axis", 0) == 0:
            shape = self.graph.shape(node.input[0]) or ()
            if len(shape) == 2 and shape[1] >= _SHORTEST_ROW:
                return self.weight(node, 0, roles.TABLE, 0)
        return ()

    def weight(
        self,
        node: onnx.NodeProto,
        place: int,
        role: str,
        axis: int,
        groups: int = 1,
        rank: int | None = None,
    ) -> tuple[Weight, ...]:
        """The weight at one of the node's inputs, where it may be rounded."""
        name = node.input[place]
        value = self.graph.constant(name)
        if value is None or value.dtype != np.float32 or not value.size:
            return ()
        if (rank is not None and value.ndim != rank) or not np.isfinite(value).all():
            return ()
        return (Weight(name, node.name, kind_of(node), place, role, value.shape, axis, groups),)

    def is_bounded(self, node: onnx.NodeProto) -> bool:
        """Whether a recurrent layer's state stays between -1 and 1, as its integers need."""
        directions, _, units = self.graph.shape(node.input[2]) or (1, 0, 0)
        kind = KINDS[node.op_type]
        functions = functions_of(kind, directions, attributes_of(node))
        cell = RecurrentCell(kind, units, 1, 1, (False,) * directions, functions)
        return cell.is_bounded

    def is_anchor(self, node: onnx.NodeProto | None) -> bool:
        return (
            node is not None
            and kind_of(node) in CONVOLUTIONS | PRODUCTS
            and bool(self.weights[node.name])
        )

    def anchor_chains(self) -> set[str]:
        """Results that an anchor's kernel computes in registers, in its own shape."""
        chain: set[str] = set()
        for node in self.graph.nodes:
            result = node.output[0]
            if self.is_anchor(node) or (
                is_cheap(node)
                and any(
                    name in chain and self.graph.shape(name) == self.graph.shape(result)
                    for name in node.input
                )
            ):
                chain.add(result)
        return chain

    def wanted_in_integers(self) -> set[str]:
        """Tensors that some rounded operator reads, found from the outputs backwards."""
        wanted: set[str] = set()
        for node in reversed(self.graph.nodes):
            if self.is_anchor(node) or (kind_of(node) in RECURRENT and self.weights[node.name]):
                wanted.add(node.input[0])
            elif node.name not in self.keep_float and any(n in wanted for n in node.output):
                if passes_through(self.graph, node):
                    wanted.update(moved(self.graph, node))
                elif is_average(node):
                    wanted.add(node.input[0])
                elif kind_of(node) in TWO_OPERANDS or node.output[0] in self.source:
                    wanted.update(n for n in node.input if n and not self.graph.is_constant(n))
        return wanted

    def operator(self, node: onnx.NodeProto) -> Planned:
        name, kind, result = node.name, kind_of(node), node.output[0]

        def kept(reason: str) -> Planned:
            return Planned(name, kind, reason=reason)

        def rounded(reads: tuple[str, ...], readers: tuple[str, ...] = (name,)) -> Planned:
            return Planned(name, kind, reads, readers if reads else (), True)

        if name in self.keep_float:
            return kept(self.keep_float[name])
        if self.weights[name]:
            return rounded(() if kind == "Gather" else (node.input[0],))
        if kind in CONVOLUTIONS | PRODUCTS | RECURRENT:
            return kept("its weight is no constant matrix of finite numbers")
        if not any(output in self.wanted for output in node.output):
            if result in self.chain:
                return kept(IN_REGISTERS)
            return kept("no integer operator reads its result")
        if passes_through(self.graph, node):
            if all(tensor in self.capable for tensor in moved(self.graph, node)):
                return rounded(())
            return kept("it moves float data")
        if result in self.source:
            return self.table(node, kept, rounded)
        if is_average(node):
            if node.input[0] in self.capable:
                return rounded((node.input[0],))
            return kept("its input is float")
        if kind in TWO_OPERANDS and len(node.input) == 2:
            return self.two_operands(node, kept, rounded)
        return kept("no integer form")

    def table(self, node: onnx.NodeProto, kept: Kept, rounded: Rounded) -> Planned:
        result = node.output[0]
        root = self.source[result]
        members = self.between(root, result)
        if root in self.chain and all(is_cheap(member) for member in members):
            return rounded(())
        if root not in self.capable:
            return kept("its input is float")
        reader = self.graph.only_reader(result)
        if reader is not None and self.source.get(reader.output[0]) == root:
            return rounded(())  # Inside a longer chain's table.
        readers = tuple(member.name for member in members if root in member.input)
        return rounded((root,), readers)

    def between(self, root: str, result: str) -> list[onnx.NodeProto]:
        """The members of the chain from ``root`` to ``result``."""
        members: dict[str, onnx.NodeProto] = {}
        pending = [result]
        while pending:
            name = pending.pop()
            if name == root or name in members or name not in self.graph.producer:
                continue
            members[name] = self.graph.producer[name]
            pending += [n for n in members[name].input if not self.graph.is_constant(n)]
        return list(members.values())

    def two_operands(self, node: onnx.NodeProto, kept: Kept, rounded: Rounded) -> Planned:
        shape = self.graph.shape(node.output[0])
        operands = [name for name in node.input if not self.graph.is_constant(name)]
        in_registers = [
            name for name in operands
            if name in self.chain
            and self.graph.shape(name) == shape
            and len(self.graph.readers[name]) == 1
        ]  # fmt: skip
        register = max(in_registers, key=lambda name: self.position[name], default=None)
        reads = tuple(n for n in dict.fromkeys(operands) if n in self.capable and n != register)
        if not reads and register is None:
            return kept("its inputs are float")
        return rounded(reads)
