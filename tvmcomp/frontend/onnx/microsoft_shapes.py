"""Types and shapes of the results of ``com.microsoft`` and our operators, which onnx doesn't infer.

Shape arithmetic of the network behind them is folded with these. What a rule can't say stays
unknown until the network is in Relax.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import onnx_ir as ir

#: Shape of each input, None where it is left out or not known.
Shapes = Sequence["list[int] | None"]
Rule = Callable[[ir.Node, Shapes], "Iterator[list[int] | None]"]


def infer_microsoft_shapes(node: ir.Node) -> None:
    """Set the types and shapes of the results of ``node`` that are not known."""
    rule = _RULES.get(node.op_type)
    if rule is None:
        return
    shapes = [_shape(value) for value in node.inputs]
    shapes += [None] * (_MOST_INPUTS - len(shapes))
    for output, shape in zip(node.outputs, rule(node, shapes), strict=False):
        if output.shape is None and shape is not None:
            output.shape = ir.Shape(shape)
        like = _TYPED_AS.get(node.op_type, 0)
        if output.dtype is None and len(node.inputs) > like and node.inputs[like] is not None:
            output.dtype = node.inputs[like].dtype


_MOST_INPUTS = 16
#: Operator -> the input whose type its results have, where that isn't the first.
_TYPED_AS = {"DequantizeLinear": 1, "EmbedLayerNormalization": 2, "QuantizeLinear": 2}


def _shape(value: ir.Value | None) -> list[int] | None:
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return list(value.shape.numpy())


def _as_first(_node: ir.Node, shapes: Shapes) -> Iterator[list[int] | None]:
    yield shapes[0]


def _dynamic_lstm(_node: ir.Node, shapes: Shapes) -> Iterator[list[int] | None]:
    x, recurrence = shapes[0], shapes[2]
    if x is not None and recurrence is not None and len(x) == len(recurrence) == 3:
        state = [recurrence[0], x[1], recurrence[1]]
        yield from ([x[0], *state], state, state)


def _attention(node: ir.Node, shapes: Shapes) -> Iterator[list[int] | None]:
    x, weight = shapes[0], shapes[1]
    if x is not None and weight is not None and len(x) == 3 and len(weight) == 2:
        sizes = node.attributes.get("qkv_hidden_sizes")
        yield [*x[:2], sizes.as_ints()[2] if sizes is not None else weight[1] // 3]


def _multi_head_attention(_node: ir.Node, shapes: Shapes) -> Iterator[list[int] | None]:
    query, key, value = shapes[:3]
    if query is None:
        return
    if len(query) == 5:  # query, key and value packed
        yield [*query[:2], query[2] * query[4]]
    elif value is not None:
        yield [*query[:2], value[2] if len(value) == 3 else value[1] * value[3]]
    elif key is not None and len(key) == 5:
        yield [*query[:2], key[2] * key[4]]


def _group_query_attention(node: ir.Node, shapes: Shapes) -> Iterator[list[int] | None]:
    query, key = shapes[:2]
    if query is not None and key is not None:
        yield query
    elif query is not None and node.inputs[1] is None:  # queries, keys and values packed
        heads = node.attributes["num_heads"].as_int()
        size = query[2] // (heads + 2 * node.attributes["kv_num_heads"].as_int())
        yield [*query[:2], heads * size]


def _embed(_node: ir.Node, shapes: Shapes) -> Iterator[list[int] | None]:
    ids, words = shapes[0], shapes[2]
    if ids is not None and words is not None:
        yield [*ids, words[-1]]


def _block_matmul(_node: ir.Node, shapes: Shapes) -> Iterator[list[int] | None]:
    x, codes = shapes[0], shapes[1]
    if x is not None and codes is not None:
        yield [*x[:-1], codes[0]]


_SHAPED_AS_FIRST = (
    "BiasGelu", "DequantizeLinear", "FastGelu", "Gelu", "QuantizeLinear", "RotaryEmbedding",
    "SimplifiedLayerNormalization", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization",
)  # fmt: skip

#: Operator -> what gives the shapes of its results in order.
_RULES: dict[str, Rule] = {
    **dict.fromkeys(_SHAPED_AS_FIRST, _as_first),
    "Attention": _attention,
    "BlockMatMul": _block_matmul,
    "DynamicQuantizeLSTM": _dynamic_lstm,
    "EmbedLayerNormalization": _embed,
    "GroupQueryAttention": _group_query_attention,
    "MultiHeadAttention": _multi_head_attention,
}
