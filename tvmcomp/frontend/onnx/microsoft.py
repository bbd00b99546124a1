"""Operators of the ``com.microsoft`` domain: onnx's checker knows no schema of them."""

from __future__ import annotations

import onnx

from tvmcomp.frontend.onnx.node_facts import NodeFacts
from tvmcomp.frontend.onnx.recurrent_rules import KINDS, check_recurrent_attributes
from tvmcomp.frontend.onnx.support import nodes_of

DOMAIN = "com.microsoft"
#: Operators of ONNX Runtime that it has in the standard's domain.
IN_STANDARD_DOMAIN = {"SimplifiedLayerNormalization"}

#: Operator -> fewest and most inputs, most outputs, attributes, of ONNX Runtime's schemas.
_POOL = {"auto_pad", "ceil_mode", "kernel_shape", "pads", "strides"}
_CONV = {"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"}
_SCHEMAS: dict[str, tuple[int, int, int, set[str]]] = {
    "Attention": (2, 7, 2, {
        "num_heads", "unidirectional", "qkv_hidden_sizes", "scale", "mask_filter_value",
        "do_rotary", "rotary_embedding_dim", "past_present_share_buffer"}),
    "BiasGelu": (2, 2, 1, set()),
    "DequantizeLinear": (2, 3, 1, {"axis"}),
    "DynamicQuantizeLSTM": (12, 12, 3, {
        "activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size",
        "input_forget"}),
    "DynamicQuantizeMatMul": (3, 5, 1, set()),
    "EmbedLayerNormalization": (7, 9, 3, {"epsilon", "mask_index_type"}),
    "FastGelu": (1, 2, 1, set()),
    "FusedConv": (2, 4, 1, {*_CONV, "activation", "activation_params"}),
    "FusedGemm": (2, 3, 1, {
        "alpha", "beta", "transA", "transB", "activation", "activation_alpha", "activation_beta",
        "activation_gamma"}),
    "FusedMatMul": (2, 2, 1, {"alpha", "transA", "transB", "transBatchA", "transBatchB"}),
    "Gelu": (1, 1, 1, set()),
    "GroupQueryAttention": (7, 16, 4, {
        "do_rotary", "k_quant_type", "kv_cache_bit_width", "kv_num_heads", "local_window_size",
        "num_heads", "qk_output", "rotary_interleaved", "scale", "smooth_softmax", "softcap",
        "v_quant_type"}),
    "MatMulInteger16": (2, 2, 1, set()),
    "MatMulIntegerToFloat": (4, 7, 1, set()),
    "MatMulNBits": (3, 6, 1, {
        "K", "N", "bits", "block_size", "accuracy_level", "weight_prepacked"}),
    "MultiHeadAttention": (1, 10, 4, {
        "num_heads", "mask_filter_value", "scale", "unidirectional"}),
    "NhwcMaxPool": (1, 1, 1, {*_POOL, "dilations"}),
    "QGemm": (6, 9, 1, {"alpha", "transA", "transB"}),
    "QLinearAdd": (7, 8, 1, set()),
    "QLinearAveragePool": (4, 5, 1, {*_POOL, "channels_last", "count_include_pad"}),
    "QLinearConcat": (5, 1 << 16, 1, {"axis"}),
    "QLinearGlobalAveragePool": (4, 5, 1, {"channels_last"}),
    "QLinearLeakyRelu": (4, 5, 1, {"alpha"}),
    "QLinearMul": (7, 8, 1, set()),
    "QLinearSigmoid": (4, 5, 1, set()),
    "QLinearSoftmax": (4, 5, 1, {"axis", "opset"}),
    "QLinearWhere": (8, 9, 1, set()),
    "QuantizeLinear": (2, 3, 1, {"axis"}),
    "QuickGelu": (1, 1, 1, {"alpha"}),
    "RotaryEmbedding": (4, 4, 1, {
        "interleaved", "num_heads", "rotary_embedding_dim", "scale", "is_packed_batching"}),
    "SimplifiedLayerNormalization": (2, 2, 2, {"axis", "epsilon", "stash_type"}),
    "SkipLayerNormalization": (3, 5, 4, {"epsilon"}),
    "SkipSimplifiedLayerNormalization": (3, 4, 4, {"epsilon"}),
}  # fmt: skip


#: Operator -> those of its first inputs that may be left out.
_OPTIONAL = {
    "DynamicQuantizeLSTM": {3, 4, 5, 6, 7},
    "EmbedLayerNormalization": {1, 4},
    "GroupQueryAttention": {1, 2, 3, 4},
    "QGemm": {2, 5},
    "QLinearAdd": {2, 5},
    "QLinearAveragePool": {2},
    "QLinearConcat": {1},
    "QLinearGlobalAveragePool": {2},
    "QLinearLeakyRelu": {2},
    "QLinearMul": {2, 5},
    "QLinearSigmoid": {2},
    "QLinearSoftmax": {2},
    "QLinearWhere": {3, 6},
}


def import_microsoft(model: onnx.ModelProto) -> None:
    """Declare the domain where it is used and not declared; ONNX Runtime needs no declaration."""
    declared = {entry.domain for entry in model.opset_import}
    if DOMAIN not in declared and any(node.domain == DOMAIN for node in nodes_of(model.graph)):
        model.opset_import.add(domain=DOMAIN, version=1)


def check_microsoft(node: NodeFacts) -> None:
    """Raise ValueError where a node has other inputs, outputs or attributes than its operator."""
    schema = _SCHEMAS.get(node.node.op_type)
    if schema is None:
        return
    fewest, most, outputs, attributes = schema
    given = len(node.node.input)
    if not fewest <= given <= most:
        raise ValueError(f"it has {given} inputs, and must have {fewest} to {most}")
    optional = _OPTIONAL.get(node.node.op_type, set())
    for index, name in enumerate(node.node.input[:fewest]):
        if not name and index not in optional:
            raise ValueError(f"its input {index} is left out, and must be there")
    if not 1 <= len(node.node.output) <= outputs:
        raise ValueError(f"it has {len(node.node.output)} outputs, and may have 1 to {outputs}")
    if unknown := sorted(set(node.attributes) - attributes):
        raise ValueError(f"it has no attribute {', '.join(unknown)}")
    if node.node.op_type in KINDS:
        check_recurrent_attributes(node)
