"""How often a Loop runs, where its condition follows from constants: a counter's, as a rule."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
import onnx.reference
from onnx import helper, numpy_helper

from tvmcomp.frontend.onnx.limits import COUNTED_TRIPS
from tvmcomp.frontend.onnx.support import nodes_of, subgraphs_of

#: What counters and their conditions are made of; of single numbers they give single numbers.
_OF_COUNTERS = {
    "Add", "And", "Cast", "Constant", "Div", "Equal", "Greater", "GreaterOrEqual", "Identity",
    "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Squeeze", "Sub",
    "Where", "Xor",
}  # fmt: skip


def trip_count(
    model: onnx.ModelProto,
    body: onnx.GraphProto,
    constants: Mapping[str, onnx.TensorProto],
    carried: list[str],
    most: int | None,
) -> int | None:
    """The number of trips of a Loop that begins; None where its condition depends on data.

    Args:
        model: for its operator sets.
        body: of the loop.
        constants: those that the body reads, and that the carried values may begin with.
        carried: what the carried values begin with.
        most: the trip count; None where it has none.
    """
    return _Trips(model, body, constants, carried, most).count()


class _Trips:
    """How often a Loop runs, where its condition follows from constants.

    Of the body only what the condition needs is computed: ``needed`` are the positions of the
    carried values that it depends on, one trip after another.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        body: onnx.GraphProto,
        constants: Mapping[str, onnx.TensorProto],
        carried: list[str],
        most: int | None,
    ) -> None:
        self.model, self.body, self.constants = model, body, constants
        self.carried, self.most = carried, most
        self.inputs = [value.name for value in body.input]
        self.outputs = [value.name for value in body.output]
        self.makers = {name: node for node in body.node for name in node.output}
        self.own = {tensor.name for tensor in body.initializer}

    def _value(self, name: str) -> np.ndarray | None:
        return numpy_helper.to_array(self.constants[name]) if name in self.constants else None

    def count(self) -> int | None:
        """The number of trips; None where the condition depends on data."""
        if self._is_always_true():
            return self.most
        needed, nodes, outer = self._slice()
        if any(
            node.op_type not in _OF_COUNTERS or node.domain not in ("", "ai.onnx") for node in nodes
        ):
            return None
        values = {i: self._value(self.carried[i]) for i in needed}
        constants = {name: self._value(name) for name in outer}
        # Of single numbers alone, so that no trip takes memory.
        given = (*values.values(), *constants.values())
        held = [tensor for tensor in self.body.initializer if tensor.name in self._read(nodes)]
        held += [a.t for node in nodes for a in node.attribute if a.HasField("t")]
        if any(v is None or v.size != 1 for v in given) or any(
            np.prod(tensor.dims, dtype=float) != 1 for tensor in held
        ):
            return None
        return self._counted(needed, values, constants, self._evaluator(needed, nodes))

    def _counted(
        self,
        needed: list[int],
        values: dict[int, np.ndarray | None],
        constants: dict[str, np.ndarray | None],
        evaluator: Any,
    ) -> int | None:
        """The trips until the condition is false, as the reference evaluates it; None for many."""
        limit = COUNTED_TRIPS if self.most is None else min(self.most, COUNTED_TRIPS)
        for trip in range(limit):
            feeds = {name: value for name, value in constants.items() if value is not None}
            feeds |= {self.inputs[0]: np.array(trip, "int64"), self.inputs[1]: np.array(True)}
            feeds |= {self.inputs[2 + i]: v for i, v in values.items() if v is not None}
            feeds = {name: value for name, value in feeds.items() if name in evaluator.input_names}
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                try:
                    going, *new = evaluator.run(None, feeds)
                # A node of operands that it does not take: the checks that follow name it.
                except Exception:  # noqa: BLE001
                    return None
            values = dict(zip(needed, new, strict=True))
            if not np.asarray(going).item():
                return trip + 1
        return self.most if self.most == limit else None

    @staticmethod
    def _read(nodes: list[onnx.NodeProto]) -> set[str]:
        return {name for node in nodes for name in node.input}

    def _is_always_true(self) -> bool:
        """Whether the condition is handed on as it is, or a constant that is true."""
        name = self.outputs[0]
        while name in self.makers and self.makers[name].op_type == "Identity":
            name = self.makers[name].input[0]
        if name == self.inputs[1]:
            return self.most is not None
        value = self._value(name)
        maker = self.makers.get(name)
        if value is None and maker is not None and maker.op_type == "Constant":
            value = next((numpy_helper.to_array(a.t) for a in maker.attribute if a.name == "value"),
                         None)  # fmt: skip
        return self.most is not None and value is not None and bool(value.all())

    def _slice(self) -> tuple[list[int], list[onnx.NodeProto], set[str]]:
        """The carried values that the condition needs, the nodes, and the outer tensors."""
        needed: list[int] = []
        wanted, seen, used, outer = [self.outputs[0]], set(), set(), set()
        while wanted:
            name = wanted.pop()
            if name in seen or not name:
                continue
            seen.add(name)
            if name in self.makers:
                node = self.makers[name]
                used.add(id(node))
                wanted += [*node.input, *read_inside(node)]
            elif name in self.inputs[2:]:
                index = self.inputs.index(name) - 2
                needed.append(index)
                wanted.append(self.outputs[1 + index])
            elif name not in self.inputs and name not in self.own:
                outer.add(name)
        nodes = [node for node in self.body.node if id(node) in used]
        return needed, nodes, outer

    def _evaluator(self, needed: list[int], nodes: list[onnx.NodeProto]) -> Any:
        graph = self.body
        wanted = [self.outputs[0], *(self.outputs[1 + i] for i in needed)]
        made = {name for node in nodes for name in node.output}
        # An output that is an input as well needs a node between.
        copies = [
            helper.make_node("Identity", [name], [f"{name}__{i}"]) for i, name in enumerate(wanted)
        ]
        read = {name for node in (*nodes, *copies) for name in (*node.input, *read_inside(node))}
        held = {tensor.name for tensor in graph.initializer}
        inputs = [onnx.ValueInfoProto(name=name) for name in sorted(read - made - held) if name]
        outputs = [onnx.ValueInfoProto(name=copy.output[0]) for copy in copies]
        slice_ = helper.make_graph([*nodes, *copies], "condition", inputs, outputs,
                                   graph.initializer)  # fmt: skip
        model = helper.make_model(slice_, opset_imports=self.model.opset_import)
        return onnx.reference.ReferenceEvaluator(model)


def defined_in(graph: onnx.GraphProto) -> Iterator[str]:
    """The names that ``graph`` and the graphs in it define."""
    for node in graph.node:
        yield from (name for name in node.output if name)
        for inner in subgraphs_of(node):
            yield from (value.name for value in inner.input)
            yield from (tensor.name for tensor in inner.initializer)
            yield from defined_in(inner)


def read_inside(node: onnx.NodeProto) -> Iterator[str]:
    """What the graphs in ``node`` read from outside."""
    for graph in subgraphs_of(node):
        own = {
            *defined_in(graph),
            *(v.name for v in graph.input),
            *(t.name for t in graph.initializer),
        }
        read = (name for inner in nodes_of(graph) for name in inner.input)
        yield from (name for name in (*read, *(o.name for o in graph.output)) if name not in own)
