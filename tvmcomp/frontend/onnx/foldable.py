"""What a node is asked before its shapes are inferred, and before it is folded.

onnx's reference implementation, which folds, has no limits, and answers an integer division by
zero with a warning. So nodes are looked at first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.limits import (
    EINSUM_OPERANDS,
    EINSUM_WORK,
    FOLDED_WORK,
    LOOPED_ELEMENTS,
    MOST_OUTPUTS,
    UNSCHEDULED_WORK,
    TensorLimits,
)

#: Never folded: they say how a weight is quantized.
_QUANTIZATION = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}

#: Not folded, as the reference answers otherwise than ONNX Runtime where an index is out of range.
_OTHERWISE = {"OneHot"}

#: Not folded, as the reference ignores most of their attributes.
_SIMPLIFIED = {"GRU", "LSTM", "RNN"}

#: Not folded in operator sets before this one: the reference knows the later meaning of their axis.
_FLATTENING = {"Hardmax": 13, "LogSoftmax": 13, "Softmax": 13}

#: Their results' sizes depend on data, and are at most their operands'.
_SHRINKING = {"Compress", "NonZero", "Unique"}

#: The reference computes these in loops of Python.
_LOOPS = {
    "AveragePool", "Col2Im", "Conv", "ConvInteger", "ConvTranspose", "DeformConv", "GatherElements",
    "GatherND", "GlobalLpPool", "GridSample", "LpPool", "LRN", "MaxPool",
    "MaxRoiPool", "MaxUnpool", "NonMaxSuppression", "QLinearConv", "Resize", "ReverseSequence",
    "RoiAlign", "Scatter", "ScatterElements", "ScatterND", "STFT", "TfIdfVectorizer",
    "Upsample",
}  # fmt: skip

#: Operators whose work is more than their results' elements.
_PRODUCTS = {"Einsum", "Gemm", "MatMul", "MatMulInteger", "QLinearMatMul"}


def check_node(node: ir.Node, limits: TensorLimits) -> None:
    """Refuse a node with a constant that no answer follows from, or over a limit of its own.

    The shapes of its inputs are those that are known so far.

    Raises:
        ModelError: naming the node, and what is wrong with it or the limit.
    """
    if len(node.outputs) > MOST_OUTPUTS:
        limits.refuse(
            f"{_name(node)} has {len(node.outputs):,} outputs; the limit is {MOST_OUTPUTS:,}"
        )
    check = _CHECKS.get(node.op_type)
    if check is not None and node.domain in ("", "ai.onnx"):
        check(node, limits)


def check_results(node: ir.Node, limits: TensorLimits) -> None:
    """Refuse a node whose results, as far as their shapes are known, exceed the limits.

    Raises:
        ModelError: naming the limit.
    """
    for output in node.outputs:
        if output.shape is not None and output.shape.is_static() and output.dtype is not None:
            size = limits.check(_name(node), output.shape.numpy(), output.dtype.itemsize)
            limits.count(_name(node), size)


def may_fold(node: ir.Node, opset: int, limits: TensorLimits) -> bool:
    """Say whether a node of constant operands is to be folded; it counts what folding adds.

    Args:
        node: of the graph or of a subgraph, which does not say its operator set.
        opset: the model's, of the standard.
        limits: of the model.
    """
    if node.op_type in _QUANTIZATION | _OTHERWISE | _SIMPLIFIED:
        return False
    if opset < _FLATTENING.get(node.op_type, 0):
        return False
    elements_in = sum(value.const_value.size for value in node.inputs if value is not None)
    if node.op_type in _LOOPS and elements_in > LOOPED_ELEMENTS:
        return False
    if node.op_type in _SHRINKING:
        return True
    shapes = [output.shape for output in node.outputs if output.name]
    if any(shape is None or not shape.is_static() for shape in shapes):
        return False
    elements_out = sum(math.prod(shape.numpy()) for shape in shapes)
    if node.op_type in _LOOPS and elements_out > LOOPED_ELEMENTS:
        return False
    if node.op_type in _PRODUCTS:
        floats = all(value.dtype.is_floating_point() for value in node.inputs if value)
        if _work(node, elements_out) > (FOLDED_WORK if floats else UNSCHEDULED_WORK):
            return False
    return limits.may_fold(elements_in, elements_out)


def _work(node: ir.Node, elements_out: int) -> int:
    """Return at least how many multiplications a product takes."""
    if node.op_type == "Einsum":
        return _einsum_work(node)
    return elements_out * max(max(value.shape.numpy(), default=1) for value in node.inputs if value)


def _split_to_sequence(node: ir.Node, limits: TensorLimits) -> None:
    """onnxscript unfolds it to a Split, of as many outputs as its operands say."""
    shape = _shape(node, 0)
    axis = _attribute(node, "axis", 0)
    if shape is None or not -len(shape) <= axis < len(shape) or not isinstance(shape[axis], int):
        return
    sizes = _value(node, 1)
    if sizes is None:
        parts = shape[axis]
    else:
        parts = sizes.size if sizes.ndim else -(-shape[axis] // max(int(sizes), 1))
    if parts > MOST_OUTPUTS:
        limits.refuse(f"{_name(node)} makes {parts:,} tensors; the limit is {MOST_OUTPUTS:,}")


def _integer_division(node: ir.Node, limits: TensorLimits) -> None:
    divisor = _value(node, 1)
    if divisor is not None and divisor.dtype.kind in "iu" and not divisor.all():
        _fault(node, limits, "it divides integers by the constant 0")


def _einsum(node: ir.Node, limits: TensorLimits) -> None:
    if len(node.inputs) > EINSUM_OPERANDS:
        limits.refuse(
            f"{_name(node)} has {len(node.inputs)} operands; the limit is {EINSUM_OPERANDS}"
        )
    work = _einsum_work(node)
    if work > EINSUM_WORK:
        limits.refuse(f"{_name(node)} takes {work:,} steps; the limit is {EINSUM_WORK:,}")


def _einsum_work(node: ir.Node) -> int:
    """Return the product of the sizes of all letters of an Einsum, as far as they are known."""
    terms = str(_attribute(node, "equation", "")).split("->")[0].replace(" ", "").split(",")
    sizes: dict[str, int] = {}
    for index, term in enumerate(terms):
        shape = _shape(node, index) or ()
        front, dots, back = term.partition("...")
        # What an ellipsis stands for is as good as letters, counted from its end.
        middle = [f"...{i}" for i in range(len(shape) - len(front) - len(back), 0, -1)]
        letters = [*front, *(middle if dots else ()), *back]
        for letter, size in zip(letters, shape, strict=False):
            if isinstance(size, int):
                sizes[letter] = max(size, sizes.get(letter, 1))
    return math.prod(sizes.values())


def _one_hot(node: ir.Node, limits: TensorLimits) -> None:
    depth = _value(node, 1)
    if depth is not None and depth.size == 1 and depth.item() < 1:
        _fault(node, limits, f"its depth is {depth.item()}")


def _top_k(node: ir.Node, limits: TensorLimits) -> None:
    shape, value = _shape(node, 0), _value(node, 1)
    axis = _attribute(node, "axis", -1)
    k = _attribute(node, "k", None) if value is None or value.size != 1 else value.item()
    if shape is None or k is None or not -len(shape) <= axis < len(shape):
        return
    if isinstance(shape[axis], int) and not 0 <= k <= shape[axis]:
        _fault(node, limits, f"k is {k}, and the axis has {shape[axis]} elements")


def _fault(node: ir.Node, limits: TensorLimits, what: str) -> None:
    raise ModelError(
        f"{_name(node)} can't be compiled: {what}",
        where=limits.where,
        hint="ONNX Runtime refuses such a node too; mend the exporter, or the model.",
    )


def _name(node: ir.Node) -> str:
    return f"node {node.name!r} ({node.op_type})"


def _attribute(node: ir.Node, name: str, default: Any) -> Any:
    attribute = node.attributes.get(name)
    return default if attribute is None or attribute.is_ref() else attribute.value


def _shape(node: ir.Node, index: int) -> tuple[Any, ...] | None:
    """Return the dimensions of an input (int, or a symbol), None where even the rank is unknown."""
    value = node.inputs[index] if index < len(node.inputs) else None
    return None if value is None or value.shape is None else tuple(value.shape)


def _value(node: ir.Node, index: int) -> np.ndarray | None:
    """Return the value of an input that is constant."""
    value = node.inputs[index] if index < len(node.inputs) else None
    return None if value is None or value.const_value is None else value.const_value.numpy()


_CHECKS: dict[str, Callable[[ir.Node, TensorLimits], None]] = {
    "Div": _integer_division,
    "Einsum": _einsum,
    "Mod": _integer_division,
    "OneHot": _one_hot,
    "SplitToSequence": _split_to_sequence,
    "TopK": _top_k,
}
