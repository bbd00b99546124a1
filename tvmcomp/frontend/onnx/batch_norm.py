"""Fold an ONNX BatchNormalization into the weights of the convolution before it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir


def fold_batch_norms(graph: ir.Graph) -> None:
    """Fold, in place, every inference-mode BatchNormalization that follows a convolution.

    The convolution keeps its name. One that the rule does not match stays: the importer writes it
    as a multiplication and an addition per channel.
    """
    for node in list(graph):
        if node.op_type == "BatchNormalization" and node.domain in ("", "ai.onnx"):
            _fold(graph, node)


def _fold(graph: ir.Graph, norm: ir.Node) -> None:
    conv = norm.inputs[0].producer() if norm.inputs[0] is not None else None
    if (
        conv is None
        or conv.op_type not in ("Conv", "ConvTranspose")
        or len(conv.outputs[0].uses()) != 1
        or conv.outputs[0].is_graph_output()
        or norm.attributes.get_int("training_mode", 0)
        or any(output.uses() or output.is_graph_output() for output in norm.outputs[1:])
    ):
        return
    constants = [_array(value) for value in (*norm.inputs[1:5], conv.inputs[1])]
    bias = conv.inputs[2] if len(conv.inputs) > 2 else None
    if any(array is None for array in constants) or (bias is not None and _array(bias) is None):
        return
    dtype = constants[-1].dtype  # type: ignore[union-attr]
    gamma, beta, mean, variance, weight = (np.asarray(a, np.float64) for a in constants)
    scale = gamma / np.sqrt(variance + norm.attributes.get_float("epsilon", 1e-5))
    old_bias = np.asarray(_array(bias), np.float64) if bias is not None else np.zeros_like(mean)
    new_weight = _scaled(weight, scale, conv).astype(dtype)
    new_bias = ((old_bias - mean) * scale + beta).astype(dtype)

    name = conv.name or conv.outputs[0].name
    conv.resize_inputs(3)
    conv.replace_input_with(1, _initializer(graph, f"{name}.weight.folded", new_weight))
    conv.replace_input_with(2, _initializer(graph, f"{name}.bias.folded", new_bias))
    old_output, new_output = norm.outputs[0], conv.outputs[0]
    ir.convenience.replace_nodes_and_values(graph, norm, [norm], [], [old_output], [new_output])


def _scaled(weight: np.ndarray, scale: np.ndarray, conv: ir.Node) -> np.ndarray:
    """Scale each output channel: axis 0 of Conv, axis 1 within each group of ConvTranspose."""
    rest = (1,) * (weight.ndim - 2)
    if conv.op_type == "Conv":
        return weight * scale.reshape(-1, 1, *rest)
    groups = conv.attributes.get_int("group", 1)
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    return (grouped * scale.reshape(groups, 1, -1, *rest)).reshape(weight.shape)


def _array(value: ir.Value | None) -> np.ndarray | None:
    if value is None or value.const_value is None:
        return None
    return value.const_value.numpy()


def _initializer(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    value = ir.Value(
        name=name, type=ir.TensorType(tensor.dtype), shape=tensor.shape, const_value=tensor
    )
    graph.register_initializer(value)
    return value
