"""Sizes that depend on data become bounds: tensors of a fixed size, and counts of what is real.

    NonZero -> Gather -> TopK(min(k, n)) -> NonMaxSuppression -> Gather

How many elements NonZero finds is known when the network runs, and how many there may be when it is
built. So each tensor whose size is such a number is held at its bound, with what is real in front,
beside the number (:mod:`.values`); and each operator on the way is written so that what is not real
takes no part: masked in sums and orders, moved behind in a Concat, scattered to no place.

An output of such a size ends in zeros, and one more output says how many places are real.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper

from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.bounded import (
    elementwise,
    joins,
    loops,
    moves,
    padding,
    reductions,
    selections,
)
from tvmcomp.frontend.onnx.bounded.bounding import PLACES, Bounding, Rule, value_of_type
from tvmcomp.frontend.onnx.bounded.elements import followed, in_full, shape_of
from tvmcomp.frontend.onnx.bounded.values import Value
from tvmcomp.frontend.onnx.file import opset_version
from tvmcomp.frontend.onnx.kept_loops import is_counted_loop, is_endless_loop, is_kept_loop
from tvmcomp.frontend.onnx.quantized_lstm import DOMAIN
from tvmcomp.frontend.onnx.support import nodes_of

__all__ = ["PLACES", "RULES", "bound_sizes", "has_open_sizes"]

#: What can be written with bounds, by operator.
#: Softmax is of those that go along one axis as well as of those that sum up.
RULES: dict[str, Rule] = {
    **elementwise.RULES,
    **moves.RULES,
    **selections.RULES,
    **joins.RULES,
    **padding.RULES,
    **reductions.RULES,
    "Shape": shape_of,
    "Size": shape_of,
}
#: What gives sizes that depend on data.
_SOURCES = {"Compress", "NonZero"}
#: Inputs that say a size, of operators that can be given a computed one.
_SIZES = {
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "Range": (0, 1, 2),
    "Slice": (1, 2),
    "TopK": (1,),
}


def bound_sizes(model: onnx.ModelProto, *, where: str) -> None:
    """Write ``model``, simplified, so that no size depends on data, in place.

    Raises:
        ModelError: a size depends on data, and an operator can't be written with a bound.
    """
    infos = {
        info.name: value_of_type(info.name, info.type)
        for info in (*model.graph.value_info, *model.graph.input, *model.graph.output)
    }
    b = Bounding(model, infos, opset_version(model))
    for tensor in model.graph.initializer:
        b.values[tensor.name] = b.given(tensor)
    for info in model.graph.input:
        b.values[info.name] = infos[info.name]
    _write(b, model.graph.node, where)
    outputs = [_output(b, info) for info in model.graph.output]
    counts = [info for info in (_count_output(b, info.name) for info in model.graph.output) if info]
    del model.graph.node[:], model.graph.value_info[:], model.graph.output[:]
    model.graph.node.extend(b.nodes)
    model.graph.initializer.extend(b.initializers)
    model.graph.output.extend([*outputs, *counts])
    given = {info.name for info in (*model.graph.output, *model.graph.input)}
    model.graph.value_info.extend(info for info in b.infos if info.name not in given)
    if DOMAIN not in {each.domain for each in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))


def has_open_sizes(graph: onnx.GraphProto) -> bool:
    """Whether a size in ``graph`` depends on data."""
    known = {tensor.name for tensor in graph.initializer}
    read = {name for node in nodes_of(graph) for name in node.input}
    for node in nodes_of(graph):
        if is_counted_loop(node):
            return True
        if node.domain not in ("", "ai.onnx"):
            continue
        if node.op_type == "Compress" and node.input[1] in known:
            continue
        if node.op_type in _SOURCES:
            return True
        if node.op_type == "NonMaxSuppression" and node.output[0] in read:
            return True
        inside = node.op_type in _SIZES and {node.input[i] for i in _SIZES[node.op_type]
                                             if i < len(node.input)}  # fmt: skip
        if inside and not inside <= known and _unknown(graph, node):
            return True
    return False


def _unknown(graph: onnx.GraphProto, node: onnx.NodeProto) -> bool:
    """Whether inference found no shape of what ``node`` gives."""
    for info in (*graph.value_info, *graph.output):
        if info.name == node.output[0]:
            return value_of_type(info.name, info.type).shape is None
    return True


def _write(b: Bounding, nodes: Iterable[onnx.NodeProto], where: str) -> None:
    for node in nodes:
        b.begin(node)
        values = [in_full(b, b.values[name]) if name else Value("") for name in node.input]
        try:
            results = _if(b, node, values[0], where) if node.op_type == "If" else (
                _written(b, node, values))  # fmt: skip
        except ModelError:
            raise
        # A node may have inputs and attributes that are not its operator's.
        except Exception as error:
            reason = error if isinstance(error, ValueError) else repr(error)
            raise ModelError(
                f"node {node.name!r} ({node.op_type}) can't be compiled: {reason}",
                where=where,
                hint="Leave what follows the choice of elements out of the exported model.",
            ) from error
        for name, result in zip(node.output, results, strict=False):
            if name:
                b.values[name] = followed(node, values, result)


def _written(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value]:
    standard = node.domain in ("", "ai.onnx")
    counted = any(value.length is not None for value in values)
    rule = RULES.get(node.op_type) if standard else None
    if rule is elementwise.elementwise and not counted:
        rule = None
    results = rule(b, node, values) if rule is not None else None
    if results is not None:
        return results
    if is_kept_loop(node):
        return loops.kept_loop(b, node, values)
    if counted:
        raise ValueError("the size of what it is given depends on data")
    return b.same(node, values)


def _if(b: Bounding, node: onnx.NodeProto, condition: Value, where: str) -> list[Value]:
    """Both branches are written, and what they give is chosen from."""
    given = {attribute.name: attribute.g for attribute in node.attribute}
    sides = []
    for name in ("then_branch", "else_branch"):
        outer, graph = dict(b.values), onnx.GraphProto()
        graph.CopyFrom(given[name])
        if any(is_endless_loop(inner) for inner in graph.node):
            raise ValueError("a loop of no bound is in a branch, both of which are computed")
        prefix = f"{node.name}/{name}/"
        own = {output for inner in graph.node for output in inner.output if output}
        own |= {tensor.name for tensor in graph.initializer}
        for inner in graph.node:
            inner.name = prefix + inner.name
            _rename(inner, own, prefix)
        for tensor in graph.initializer:
            tensor.name = prefix + tensor.name
            b.initializers.append(tensor)
            b.values[tensor.name] = b.given(tensor)
        _write(b, graph.node, where)
        sides.append([b.values[prefix + info.name if info.name in own else info.name]
                      for info in graph.output])  # fmt: skip
        b.values = outer
    b.begin(node)
    return [joins.choose(b, condition, *pair) for pair in zip(*sides, strict=True)]


def _rename(node: onnx.NodeProto, own: set[str], prefix: str) -> None:
    for names in (node.input, node.output):
        names[:] = [prefix + name if name in own else name for name in names]
    for attribute in node.attribute:
        if attribute.HasField("g"):
            for inner in attribute.g.node:
                _rename(inner, own, prefix)
            for info in attribute.g.output:
                info.name = prefix + info.name if info.name in own else info.name


def _output(b: Bounding, info: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    """Give an output of the graph its name, and zeros behind what is real."""
    value = b.values[info.name]
    if value.name != info.name or (value.length is not None and not _says_itself(b, value)):
        # The name is another tensor's: of what is not real behind it as well, or cut off.
        inner = f"{info.name}/unbounded"
        _rename_made(b, info.name, inner)
        if value.name == info.name:
            value = replace(value, name=inner)
        result = b.filled(value, 0)
        b.nodes.append(helper.make_node("Identity", [result.name], [info.name], info.name))
    if value.shape is None:
        return info
    return helper.make_tensor_value_info(info.name, value.dtype, value.shape)


def _says_itself(b: Bounding, value: Value) -> bool:
    """Whether rows of -1 say how many are real: what NonMaxSuppression gives."""
    return any(
        node.op_type == "NonMaxSuppression" and node.output[0] == value.name for node in b.nodes
    )


def _rename_made(b: Bounding, name: str, new: str) -> None:
    for node in b.nodes:
        for names in (node.input, node.output):
            names[:] = [new if each == name else each for each in names]


def _count_output(b: Bounding, name: str) -> onnx.ValueInfoProto | None:
    """One more output: how many places of the output ``name`` are real."""
    value = b.values[name]
    if value.length is None or _says_itself(b, value):
        return None
    number = b.scalar(value.length.count)
    scalar = f"{name}_count"
    empty = b.constant(np.zeros(0, "int64"))
    b.nodes.append(helper.make_node("Reshape", [number.name, empty.name], [scalar], scalar))
    return helper.make_tensor_value_info(scalar, onnx.TensorProto.INT64, ())
