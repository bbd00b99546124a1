"""Inline the standard's operators that it defines by others, where the importer has none of its
own."""

from __future__ import annotations

import contextlib

import onnx
import onnx.inliner
import onnx.shape_inference

from tvmcomp.frontend.onnx.checks import without_weights
from tvmcomp.frontend.onnx.file import opset_version
from tvmcomp.frontend.onnx.support import is_supported, nodes_of

#: Of the functions that calls become before they are inlined.
_OWN_DOMAIN = "tvmcomp.inlined"


def inline_standard_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Inline the standard's functions that the importer lacks."""
    tried: set[tuple[str, str]] = set()
    # A function's body may call other functions: repeat until nothing new appears.
    while missing := _missing_functions(model) - tried:
        tried |= missing
        model = _inline_with_gaps(model, missing)
        for function in sorted(missing):
            # The inliner refuses some bodies; the operator is then reported as unsupported.
            with contextlib.suppress(RuntimeError):
                model = onnx.inliner.inline_selected_functions(
                    model, [function], inline_schema_functions=True
                )
    return model


def _missing_functions(model: onnx.ModelProto) -> set[tuple[str, str]]:
    versions = {entry.domain: entry.version for entry in model.opset_import}
    versions |= dict.fromkeys(("", "ai.onnx"), opset_version(model))
    found = set()
    for node in nodes_of(model.graph):
        if not is_supported(node) and (schema := _function(node, versions)) is not None:
            _write_defaults(node, schema)
            found.add((node.domain, node.op_type))
    return found


def _inline_with_gaps(model: onnx.ModelProto, functions: set[tuple[str, str]]) -> onnx.ModelProto:
    """Inline those calls of ``functions`` in the main graph that leave out an input before others.

    onnx's inliner asks for the type of an input that is not there. Here each call gets a function
    of its own, with the inputs that it has.
    """
    calls = [
        node
        for node in model.graph.node
        if (node.domain, node.op_type) in functions and "" in node.input
    ]
    if not calls:
        return model
    light = without_weights(model)
    inferred = onnx.shape_inference.infer_shapes(light).graph
    types = {v.name: v.type for v in (*inferred.input, *inferred.value_info, *inferred.output)}
    for tensor in model.graph.initializer:
        types[tensor.name] = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
    for index, node in enumerate(calls):
        schema = onnx.defs.get_schema(node.op_type, opset_version(model), node.domain)
        if not schema.has_context_dependent_function or any(
            name not in types for name in node.input if name
        ):
            continue
        given = [types.get(name, onnx.TypeProto()).SerializeToString() for name in node.input]
        body = schema.get_context_dependent_function(node.SerializeToString(), given)
        function = onnx.FunctionProto.FromString(body)
        present = [i for i, name in enumerate(node.input) if name]
        function.input[:] = [function.input[i] for i in present]
        node.input[:] = [node.input[i] for i in present]
        function.domain, function.name = _OWN_DOMAIN, f"{node.op_type}_{index}"
        node.domain, node.op_type = function.domain, function.name
        model.functions.append(function)
    if not model.functions:
        return model
    if _OWN_DOMAIN not in {entry.domain for entry in model.opset_import}:
        model.opset_import.add(domain=_OWN_DOMAIN, version=1)
    return onnx.inliner.inline_local_functions(model)


def _function(node: onnx.NodeProto, versions: dict[str, int]) -> onnx.defs.OpSchema | None:
    """The operator of ``node`` where the standard defines it by others."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    try:
        schema = onnx.defs.get_schema(node.op_type, versions.get(domain, 1), domain)
    except onnx.defs.SchemaError:
        return None
    return schema if schema.has_function or schema.has_context_dependent_function else None


def _write_defaults(node: onnx.NodeProto, schema: onnx.defs.OpSchema) -> None:
    """Give ``node`` the default values of its attributes: the inliner leaves them out."""
    given = {attribute.name for attribute in node.attribute}
    for name, attribute in schema.attributes.items():
        if name not in given and attribute.default_value.type:
            node.attribute.append(attribute.default_value)
