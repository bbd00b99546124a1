"""How a network ends: in scores of classes, in probabilities, or in values.

A student learns scores before their Softmax, and probabilities before their Sigmoid, where a wrong
answer has a gradient however sure the student is of it. The rules, for each output:

1. Softmax, LogSoftmax or ArgMax at its end: *scores*, compared at that operator's input.
2. Sigmoid: *odds*, compared at its input.
3. A matrix product, a convolution or an average, with rows of at least two numbers (of classes, if
   it is a classifier that leaves its Softmax to the user): *scores* if the teacher's numbers look
   like it, that is if on the samples they are
   a. sharp: the Softmax of a row gives its largest number a good part of all,
   b. centred: a row's mean is less than its deviation, since cross-entropy teaches only
      differences (coordinates and prices are not centred),
   c. various: not always the same number is the largest.
4. Anything else: *values*.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from tvmcomp.compress.operators.table import Tensor
from tvmcomp.frontend.onnx.file import opset_version
from tvmcomp.frontend.onnx.node_facts import attributes_of

Kind = Literal["scores", "odds", "values"]

#: Operators that leave every number as it is.
_MOVES = frozenset(
    ["Cast", "Dropout", "FakeQuantize", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose",
     "Unsqueeze"]
)  # fmt: skip
#: Operators whose results may be scores -> the axis of the classes in them.
_SCORING = {
    "Add": -1, "AveragePool": 1, "Conv": 1, "FusedMatMul": -1, "Gemm": -1, "GlobalAveragePool": 1,
    "MatMul": -1, "ReduceMean": 1,
}  # fmt: skip
#: Of the way from all classes alike (0) to certain (1), on average: rule 3a.
_SHARP = 0.3


@dataclass(frozen=True)
class End:
    """Where and how an output of a network is compared with that of another.

    Attributes:
        output: the output.
        tensor: the tensor that is compared: the output, or what its last operators make it of.
        kind: what it holds.
        axis: of the classes, where they are scores.
        in_question: the graph says values, and by rule 3 they may be scores.
    """

    output: str
    tensor: str
    kind: Kind
    axis: int = -1
    in_question: bool = False


def ends_of(model: onnx.ModelProto) -> dict[str, End]:
    """The end of each output, as the graph tells it."""
    producers = {name: node for node in model.graph.node for name in node.output}
    return {output.name: _end(model, output.name, producers) for output in model.graph.output}


def classes_last(end: End, values: Tensor) -> Tensor:
    """Scores of samples ``[n, *shape of the tensor]`` as rows ``[n, rows, classes]``."""
    axis = end.axis + 1 if end.axis >= 0 else end.axis
    return values.movedim(axis, -1).reshape(len(values), -1, values.shape[axis])


def looks_like_scores(end: End, values: Tensor) -> bool:
    """Rule 3 for the teacher's numbers ``[n, *shape of the tensor]``."""
    if values.ndim < 3:
        return False
    rows = classes_last(end, values.detach()).double()
    count = rows.shape[-1]
    if count < 2:
        return False
    sure = (torch.softmax(rows, -1).amax(-1).mean() - 1 / count) / (1 - 1 / count)
    centred = (rows.mean(-1).abs() < rows.std(-1)).double().mean()
    various = len(rows.argmax(-1).unique()) > 1
    return bool(sure >= _SHARP and centred > 0.5 and (various or rows.shape[:2].numel() == 1))


def are_scores(model: onnx.ModelProto, outputs: NDArray[Any]) -> bool:
    """Whether the first output is one row of scores of classes a sample: by rule 1 or 3, and of at
    least two axes, as one axis alone is rather time.

    Args:
        model: the network.
        outputs: what its first output is on some samples: ``[n, *shape]``.
    """
    row = outputs.shape[1:]
    count = math.prod(row)
    if outputs.dtype.kind != "f" or len(row) < 2 or count < 2 or max(row) != count:
        return False
    end = next(iter(ends_of(model).values()))
    if end.kind != "values":
        return end.kind == "scores"
    rows = torch.from_numpy(np.ascontiguousarray(outputs.reshape(-1, 1, count)))
    return looks_like_scores(replace(end, axis=-1), rows)


def _end(model: onnx.ModelProto, output: str, producers: dict[str, onnx.NodeProto]) -> End:
    values = End(output, output, "values")
    node = producers.get(output)
    while node is not None and node.op_type in _MOVES:
        node = producers.get(node.input[0])
    if node is None:
        return values
    if node.op_type == "Sigmoid":
        return End(output, node.input[0], "odds")
    if node.op_type in _SCORING:
        return End(output, node.output[0], "values", _SCORING[node.op_type], in_question=True)
    if node.op_type not in ("ArgMax", "LogSoftmax", "Softmax"):
        return values
    joined = node.op_type != "ArgMax" and opset_version(model) < 13
    default = 0 if node.op_type == "ArgMax" else 1 if joined else -1
    axis = int(attributes_of(node).get("axis", default))
    # Before set 13 all axes from the given one on are one.
    if joined and axis not in (-1, _rank(model, node.input[0]) - 1):
        return values
    return End(output, node.input[0], "scores", axis)


def _rank(model: onnx.ModelProto, name: str) -> int:
    """How many axes a tensor has; 0 where the graph does not say."""
    for value in [*model.graph.value_info, *model.graph.output, *model.graph.input]:
        if value.name == name:
            return len(value.type.tensor_type.shape.dim)
    return 0
