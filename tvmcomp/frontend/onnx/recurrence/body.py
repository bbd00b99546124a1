"""The body of a loop as sums: what each state becomes in one trip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx.reference
from onnx import helper, numpy_helper

from tvmcomp.frontend.onnx.recurrence import algebra
from tvmcomp.frontend.onnx.recurrence.algebra import NotRecurrent, Sum

#: Nodes of a body that are looked at; a cell has some dozens.
_MOST_NODES = 512
_FUNCTIONS = {
    "Elu": (1.0, 0.0), "HardSigmoid": (0.2, 0.5), "LeakyRelu": (0.01, 0.0), "Relu": (0.0, 0.0),
    "Sigmoid": (0.0, 0.0), "Softplus": (0.0, 0.0), "Softsign": (0.0, 0.0), "Tanh": (0.0, 0.0),
    "ThresholdedRelu": (1.0, 0.0),
}  # fmt: skip
#: What is done with weights, and makes them no larger.
_MOVES = {
    "Cast", "DequantizeLinear", "Identity", "Neg", "Reshape", "Slice", "Split", "Squeeze",
    "Transpose", "Unsqueeze",
}  # fmt: skip
#: The operator set from which on onnx's reference has an operator that meant the same before.
_EVALUATED_FROM = {"DequantizeLinear": 19}
_LAST = 2**31 - 1


class Body:
    """Evaluates the nodes of a body, each once."""

    def __init__(
        self,
        graph: onnx.GraphProto,
        constants: Mapping[str, np.ndarray],
        leaves: Mapping[str, Sum],
        opset: int,
        take: Callable[[onnx.NodeProto], Sum | None],
    ) -> None:
        """Prepare to evaluate.

        Args:
            graph: the body.
            constants: what it reads from outside, and its own.
            leaves: its states.
            opset: of the standard's operators.
            take: gives what a node takes out of an outer tensor at each trip, or None.
        """
        if len(graph.node) > _MOST_NODES:
            raise NotRecurrent(f"its body has {len(graph.node)} nodes")
        self.constants, self.opset, self.take = dict(constants), opset, take
        self.sums = dict(leaves)
        self.why: dict[str, str] = {}
        for node in graph.node:
            try:
                self._evaluate(node)
            except NotRecurrent as error:
                self.why.update(dict.fromkeys(node.output, str(error)))

    def sum(self, name: str) -> Sum:
        """What the tensor ``name`` is.

        Raises:
            NotRecurrent: it is no sum.
        """
        if name not in self.sums:
            raise NotRecurrent(self.why.get(name, f"{name!r} is no sum"))
        return self.sums[name]

    def _evaluate(self, node: onnx.NodeProto) -> None:
        if node.domain not in ("", "ai.onnx"):
            raise NotRecurrent(f"{node.op_type} of {node.domain}")
        taken = self.take(node)
        if taken is not None:
            self.sums[node.output[0]] = taken
            return
        if all(not name or name in self.constants for name in node.input):
            self._weights(node)
            return
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        evaluate = getattr(self, f"_{node.op_type.lower()}", None)
        if node.op_type in _FUNCTIONS:
            self.sums[node.output[0]] = self._function(node, given)
        elif evaluate is None:
            raise NotRecurrent(f"{node.op_type} is in no cell")
        else:
            result = evaluate(node, given)
            for name, value in zip(
                node.output, result if isinstance(result, list) else [result], strict=True
            ):
                self.sums[name] = value

    def _weights(self, node: onnx.NodeProto) -> None:
        """Evaluate a node of constants."""
        if node.op_type == "Constant":
            tensor = next((a.t for a in node.attribute if a.name == "value"), None)
            if tensor is not None:
                self.constants[node.output[0]] = numpy_helper.to_array(tensor)
        elif node.op_type in _MOVES:
            inputs = [onnx.ValueInfoProto(name=name) for name in {*node.input} if name]
            outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
            graph = helper.make_graph([node], "weights", inputs, outputs)
            version = max(self.opset, _EVALUATED_FROM.get(node.op_type, 0))
            opset = [helper.make_opsetid("", version)]
            try:
                evaluator = onnx.reference.ReferenceEvaluator(
                    helper.make_model(graph, opset_imports=opset)
                )
                made = evaluator.run(None, {i.name: self.constants[i.name] for i in inputs})
            # Of operands that it does not take, or an operator that it doesn't have.
            except Exception as error:
                raise NotRecurrent(f"{node.op_type} can't be evaluated") from error
            self.constants.update(zip(node.output, made, strict=True))

    def _array(self, name: str) -> np.ndarray:
        if name not in self.constants:
            raise NotRecurrent(f"{name!r} is not constant")
        return self.constants[name]

    def _pair(self, node: onnx.NodeProto) -> tuple[Sum, Sum]:
        """Both operands; a constant one takes the rows of the other."""
        sums = [None if name in self.constants else self.sum(name) for name in node.input]
        like = next(each for each in sums if each is not None)
        pair = [
            algebra.constant(self.constants[name], like.width, like.shape[:-1])
            if each is None
            else each
            for name, each in zip(node.input, sums, strict=True)
        ]
        return pair[0], pair[1]

    def _add(self, node: onnx.NodeProto, _: Any) -> Sum:
        return algebra.add(*self._pair(node))

    def _sub(self, node: onnx.NodeProto, _: Any) -> Sum:
        a, b = self._pair(node)
        return algebra.add(a, algebra.scale(b, np.array(-1.0)))

    def _mul(self, node: onnx.NodeProto, _: Any) -> Sum:
        a, b = self._pair(node)
        for one, other in ((a, b), (b, a)):
            if set(one.terms) <= {()}:
                return algebra.scale(other, one.terms.get((), np.zeros(one.width)))
        return algebra.product(a, b)

    def _div(self, node: onnx.NodeProto, _: Any) -> Sum:
        a, b = self._pair(node)
        divisor = b.terms.get((), np.zeros(b.width))
        if set(b.terms) != {()} or not divisor.all():
            raise NotRecurrent("a division by a sum")
        return algebra.scale(a, 1 / divisor)

    def _neg(self, node: onnx.NodeProto, _: Any) -> Sum:
        return algebra.scale(self.sum(node.input[0]), np.array(-1.0))

    def _identity(self, node: onnx.NodeProto, _: Any) -> Sum:
        return self.sum(node.input[0])

    def _matmul(self, node: onnx.NodeProto, _: Any) -> Sum:
        return algebra.matmul(self.sum(node.input[0]), self._array(node.input[1]))

    def _gemm(self, node: onnx.NodeProto, given: dict[str, Any]) -> Sum:
        a, matrix = self.sum(node.input[0]), self._array(node.input[1])
        if given.get("transA", 0) or len(a.shape) != 2:
            raise NotRecurrent("a product whose rows are turned")
        matrix = matrix.T if given.get("transB", 0) else matrix
        total = algebra.scale(algebra.matmul(a, matrix), np.array(given.get("alpha", 1.0)))
        if len(node.input) < 3 or not node.input[2]:
            return total
        name, beta = node.input[2], np.array(given.get("beta", 1.0))
        if name in self.constants:
            c = algebra.constant(self.constants[name], total.width, total.shape[:-1])
        else:
            c = self.sum(name)
        return algebra.add(total, algebra.scale(c, beta))

    def _function(self, node: onnx.NodeProto, given: dict[str, Any]) -> Sum:
        alpha, beta = _FUNCTIONS[node.op_type]
        return algebra.apply(
            node.op_type,
            self.sum(node.input[0]),
            float(given.get("alpha", alpha)),
            float(given.get("beta", beta)),
        )

    def _clip(self, node: onnx.NodeProto, given: dict[str, Any]) -> Sum:
        """``low + span ⊙ HardSigmoid``, which is between 0 and 1."""
        bounds = [given.get("min"), given.get("max")]
        if self.opset >= 11:
            bounds = [self._array(name).item() if name else None for name in node.input[1:]]
        known = [float(bound) for bound in bounds if bound is not None]
        if len(known) != 2 or not known[0] < known[1]:
            raise NotRecurrent("a clip of one bound")
        low, span = known[0], known[1] - known[0]
        a = self.sum(node.input[0])
        hard = algebra.apply("HardSigmoid", a, 1 / span, -low / span)
        low_sum = algebra.constant(np.array(low), a.width, a.shape[:-1])
        return algebra.add(algebra.scale(hard, np.array(span)), low_sum)

    def _split(self, node: onnx.NodeProto, given: dict[str, Any]) -> list[Sum]:
        a = self.sum(node.input[0])
        _check_last(a, given.get("axis", 0))
        sizes = given.get("split")
        if self.opset >= 13 and len(node.input) > 1 and node.input[1]:
            sizes = self._array(node.input[1]).tolist()
        if sizes is None:
            part = -(-a.width // len(node.output))
            sizes = [min(part, a.width - i * part) for i in range(len(node.output))]
        if sum(sizes) != a.width or min(sizes) < 0 or len(sizes) != len(node.output):
            raise NotRecurrent("a split of other parts")
        ends = np.cumsum(sizes).tolist()
        return [algebra.columns(a, e - s, e) for s, e in zip(sizes, ends, strict=True)]

    def _slice(self, node: onnx.NodeProto, given: dict[str, Any]) -> Sum:
        a = self.sum(node.input[0])
        if self.opset < 10:
            starts, ends = given["starts"], given["ends"]
            axes, steps = given.get("axes", range(len(starts))), [1] * len(starts)
        else:
            starts, ends = (self._array(name).reshape(-1).tolist() for name in node.input[1:3])
            rest = [self._array(n).reshape(-1).tolist() if n else None for n in node.input[3:]]
            axes = rest[0] if rest and rest[0] is not None else range(len(starts))
            steps = rest[1] if len(rest) > 1 and rest[1] is not None else [1] * len(starts)
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            axis = axis % len(a.shape)
            begin, stop, stride = slice(start, min(end, _LAST), step).indices(a.shape[axis])
            if stride == 1 and axis == len(a.shape) - 1:
                a = algebra.columns(a, begin, max(stop, begin))
            elif (begin, stop, stride) != (0, a.shape[axis], 1):
                raise NotRecurrent("some of the rows")
        return a

    def _concat(self, node: onnx.NodeProto, given: dict[str, Any]) -> Sum:
        like = next((self.sum(n) for n in node.input if n not in self.constants), None)
        if like is None:
            raise NotRecurrent("constants are put together")
        _check_last(like, given["axis"])
        parts = []
        for name in node.input:
            array = self.constants.get(name)
            width = 0 if array is None or not array.ndim else array.shape[-1]
            parts.append(
                self.sum(name) if array is None else algebra.constant(array, width, like.shape[:-1])
            )
        return algebra.concatenate(parts)

    def _reshape(self, node: onnx.NodeProto, given: dict[str, Any]) -> Sum:
        a = self.sum(node.input[0])
        sizes = self._array(node.input[1]).reshape(-1).tolist()
        if not given.get("allowzero", 0):
            sizes = [a.shape[i] if not s and i < len(a.shape) else s for i, s in enumerate(sizes)]
        known = int(np.prod([s for s in sizes if s >= 0], dtype=int))
        total = a.rows * a.width
        return a.as_rows_of(tuple(total // max(known, 1) if s < 0 else s for s in sizes))

    def _squeeze(self, node: onnx.NodeProto, given: dict[str, Any]) -> Sum:
        a, axes = self.sum(node.input[0]), self._axes(node, given)
        rank = len(a.shape)
        gone = range(rank) if axes is None else {axis % rank for axis in axes}
        if axes is None:
            gone = {i for i in gone if a.shape[i] == 1}
        if any(a.shape[i] != 1 for i in gone):
            raise NotRecurrent("a squeeze of more than one")
        return a.as_rows_of(tuple(s for i, s in enumerate(a.shape) if i not in gone))

    def _unsqueeze(self, node: onnx.NodeProto, given: dict[str, Any]) -> Sum:
        a, axes = self.sum(node.input[0]), self._axes(node, given) or []
        rank = len(a.shape) + len(axes)
        new, old = {axis % rank for axis in axes}, iter(a.shape)
        return a.as_rows_of(tuple(1 if i in new else next(old) for i in range(rank)))

    def _axes(self, node: onnx.NodeProto, given: dict[str, Any]) -> list[int] | None:
        if self.opset >= 13:
            named = len(node.input) > 1 and node.input[1]
            return self._array(node.input[1]).reshape(-1).tolist() if named else None
        axes = given.get("axes")
        return None if axes is None else list(axes)


def _check_last(a: Sum, axis: int) -> None:
    if axis % len(a.shape) != len(a.shape) - 1:
        raise NotRecurrent("rows are split or put together")
