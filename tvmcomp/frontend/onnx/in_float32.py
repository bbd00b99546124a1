"""Compute in float32 what a model has in float16 or bfloat16: between casts at its borders.

    x (float16)                     x (float16) -> Cast to float32
    Conv (float16 weights)    ->    Conv (the same weights as float32)
    y (float16)                     Cast to float16 -> y (float16)

CPUs have no arithmetic worth having on 16-bit floats but products; sums in them lose digits and
overflow. ONNX Runtime does the same on x86. A ``Cast`` to 16 bits in the model still rounds; the
tables of embeddings stay as they are, and only the rows that are taken are widened.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: The types that are always computed in float32.
HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
#: Attributes that name the type of a result, or of what is computed inside.
_TYPE_ATTRIBUTES = ("dtype", "output_datatype", "output_dtype", "precision", "stash_type")


def compute_in_float32(
    graph: onnx.GraphProto, types: Collection[int] = HALF, *, keep_tables: bool = True
) -> None:
    """Rewrite ``graph``, simplified, in place; its inputs and outputs keep their types.

    Args:
        graph: the main graph.
        types: element types to compute in float32.
        keep_tables: leave constants that only ``Gather`` reads in their type.
    """
    narrow = _Narrow(frozenset(types))
    if keep_tables:
        narrow.tables = _tables(graph, narrow.types)
    before, after = narrow.borders(graph)
    narrow.rewrite(graph)
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)


def stored_type(graph: onnx.GraphProto) -> str | None:
    """``float16`` or ``bfloat16`` where every weight of the model is of that type, else None."""
    kinds = {
        tensor.data_type
        for tensor in graph.initializer
        if len(tensor.dims) >= 2 and tensor.data_type in (*HALF, TensorProto.FLOAT)
    }
    if len(kinds) != 1 or kinds == {TensorProto.FLOAT}:
        return None
    return str(helper.tensor_dtype_to_np_dtype(kinds.pop()))


def _tables(graph: onnx.GraphProto, types: Collection[int]) -> frozenset[str]:
    """The constants of ``types`` that nothing but ``Gather`` reads, as its data."""
    tables = {tensor.name for tensor in graph.initializer if tensor.data_type in types}
    for node in _all_nodes(graph):
        first = 1 if node.op_type == "Gather" else 0
        tables.difference_update(node.input[first:])
    for each in _all_graphs(graph):
        tables.difference_update(output.name for output in each.output)
    return frozenset(tables)


@dataclass
class _Narrow:
    """The rewriting.

    Attributes:
        types: element types to compute in float32.
        tables: constants that stay as they are.
        renamed: tensor at a border -> its name in float32.
    """

    types: frozenset[int]
    tables: frozenset[str] = frozenset()
    renamed: dict[str, str] = field(default_factory=dict)

    def borders(self, graph: onnx.GraphProto) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
        """The casts of the inputs and of the outputs."""
        inputs = {value.name for value in graph.input}
        before, after = [], []
        for value in graph.input:
            if value.type.tensor_type.elem_type in self.types:
                wide = self.rename(value.name)
                before.append(_cast(value.name, wide, TensorProto.FLOAT))
        for value in graph.output:
            kind = value.type.tensor_type.elem_type
            if kind in self.types and value.name not in inputs | self.renamed.keys():
                after.append(_cast(self.rename(value.name), value.name, kind))
        return before, after

    def rename(self, name: str) -> str:
        self.renamed[name] = f"{name}__float32"
        return self.renamed[name]

    def rewrite(self, graph: onnx.GraphProto) -> None:
        """Rewrite the constants and nodes of ``graph`` and of the graphs in it."""
        for tensor in graph.initializer:
            if tensor.name not in self.tables:
                self.widen(tensor)
            tensor.name = self.renamed.get(tensor.name, tensor.name)
        nodes = [new for node in graph.node for new in self.node(node)]
        del graph.node[:]
        graph.node.extend(nodes)
        del graph.value_info[:]

    def node(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """What ``node`` becomes: itself, and a cast where it gives a narrow tensor."""
        for names in (node.input, node.output):
            names[:] = [self.renamed.get(name, name) for name in names]
        narrow_result = node.op_type == "Gather" and node.input[0] in self.tables
        for attribute in node.attribute:
            if attribute.name == "to" and node.op_type == "Cast":
                narrow_result = attribute.i in self.types
            elif attribute.name in _TYPE_ATTRIBUTES and attribute.i in self.types:
                attribute.i = TensorProto.FLOAT
            if attribute.type == onnx.AttributeProto.TENSOR:
                self.widen(attribute.t)
            for subgraph in _subgraphs(attribute):
                self.rewrite(subgraph)
                for output in subgraph.output:
                    output.name = self.renamed.get(output.name, output.name)
                    if output.type.tensor_type.elem_type in self.types:
                        output.type.tensor_type.elem_type = TensorProto.FLOAT
        if not narrow_result:
            yield node
            return
        result = node.output[0]
        node.output[0] = f"{result}__narrow"
        yield node
        yield _cast(node.output[0], result, TensorProto.FLOAT)

    def widen(self, tensor: onnx.TensorProto) -> None:
        """Make ``tensor`` float32, in place."""
        if tensor.data_type in self.types:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _cast(source: str, result: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [result], name=f"{result}_cast", to=kind)


def _subgraphs(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    """The graphs that an attribute holds."""
    if attribute.type == onnx.AttributeProto.GRAPH:
        return [attribute.g]
    return list(attribute.graphs)


def _all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for subgraph in _subgraphs(attribute):
                yield from _all_graphs(subgraph)


def _all_nodes(graph: onnx.GraphProto) -> Iterable[onnx.NodeProto]:
    return (node for each in _all_graphs(graph) for node in each.node)
