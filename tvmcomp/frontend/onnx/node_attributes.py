"""A node's attributes, with what the standard gives those numbers that it leaves out."""

from __future__ import annotations

from functools import cache
from typing import Any

import onnx


def attributes_with_defaults(node: onnx.NodeProto, opset: int) -> dict[str, Any]:
    """Names to values; lists as tuples, strings as bytes.

    A number's default is that of float32, as any other value of the attribute would be: 0.2 is
    0.200000003 where data is float64, too.
    """
    given = {attribute.name: _value(attribute) for attribute in node.attribute}
    if node.domain not in ("", "ai.onnx"):
        return given
    return {**_default_numbers(node.op_type, opset), **given}


def _value(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    return tuple(value) if isinstance(value, list) else value


@cache
def _default_numbers(operator: str, opset: int) -> dict[str, float]:
    try:
        schema = onnx.defs.get_schema(operator, opset)
    except onnx.defs.SchemaError:
        return {}
    return {
        name: attribute.default_value.f
        for name, attribute in schema.attributes.items()
        if attribute.default_value.type == onnx.AttributeProto.FLOAT
    }
