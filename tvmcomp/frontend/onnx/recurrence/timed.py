"""The numbers of a loop that follow from its trips: counters, conditions and places of slices."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx.reference
from onnx import helper

from tvmcomp.frontend.onnx.recurrence.algebra import NotRecurrent

#: What such numbers are made of.
_OPERATORS = {
    "Add", "And", "Cast", "Concat", "Constant", "Div", "Equal", "Gather", "Greater",
    "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "Not",
    "Or", "Reshape", "Squeeze", "Sub", "Unsqueeze", "Where", "Xor",
}  # fmt: skip
#: Elements of such a tensor: a place of each dimension, at most.
_MOST_ELEMENTS = 32
#: Trips of all loops together whose numbers are computed, one by one.
MOST_TRIPS = 1 << 14


class Timed:
    """What of a body follows from its trips alone.

    Attributes:
        names: of these tensors of the body.
        trips: how often it runs.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        body: onnx.GraphProto,
        constants: Mapping[str, np.ndarray],
        initial: Mapping[str, np.ndarray],
        most: int | None,
        limit: int,
    ) -> None:
        """Run the counters of a loop to its end.

        Args:
            model: for its operator sets.
            body: of a Loop.
            constants: what it reads from outside, and its own.
            initial: of the carried values that begin with a constant, by the body's name.
            most: its trip count, if it has one.
            limit: of trips that are followed.

        Raises:
            NotRecurrent: when it ends depends on more than counters.
        """
        self.model, self.body, self.constants = model, body, constants
        self.inputs = [value.name for value in body.input]
        self.outputs = [value.name for value in body.output]
        after = dict(zip(self.inputs[2:], self.outputs[1:], strict=False))
        counters = {name: value for name, value in initial.items() if value.size == 1}
        while True:
            self.names = self._following(counters)
            wrong = {name for name in counters if after[name] not in self.names}
            if not wrong:
                break
            counters = {name: value for name, value in counters.items() if name not in wrong}
        if self.outputs[0] not in self.names:
            raise NotRecurrent("its condition depends on data")
        self.counters = counters
        self._after = after
        self.values: list[dict[str, np.ndarray]] = []
        self._wanted = sorted(self.names - set(self.inputs) - set(constants))
        self._run(most, limit)
        self.trips = len(self.values)

    def at(self, name: str) -> list[np.ndarray]:
        """The values of a tensor of :attr:`names` in each trip."""
        if name in self.constants:
            return [self.constants[name]] * self.trips
        return [values[name] for values in self.values]

    def finally_(self, name: str) -> np.ndarray:
        """What the counter ``name`` is after the last trip."""
        return self.at(self._after[name])[-1]

    def _following(self, counters: Mapping[str, np.ndarray]) -> set[str]:
        known = {self.inputs[0], self.inputs[1], *counters}
        small = {name for name, value in self.constants.items() if value.size <= _MOST_ELEMENTS}
        for node in self.body.node:
            plain = node.op_type in _OPERATORS and node.domain in ("", "ai.onnx")
            if plain and all(not name or name in known or name in small for name in node.input):
                known.update(node.output)
        return known | small

    def _run(self, most: int | None, limit: int) -> None:
        nodes = [node for node in self.body.node if set(node.output) <= self.names]
        read = {name for node in nodes for name in node.input} | {*self._wanted}
        outer = {name: self.constants[name] for name in read if name in self.constants}
        state: dict[str, Any] = {self.inputs[0]: np.array(0, "int64"),
                                 self.inputs[1]: np.array(True), **self.counters}  # fmt: skip
        inputs = [onnx.ValueInfoProto(name=name) for name in (*state, *outer)]
        outputs = [onnx.ValueInfoProto(name=name) for name in self._wanted]
        graph = helper.make_graph(nodes, "counters", inputs, outputs)
        evaluate = onnx.reference.ReferenceEvaluator(
            helper.make_model(graph, opset_imports=self.model.opset_import)
        )
        for trip in itertools.count() if most is None else range(most):
            if trip >= limit:
                raise NotRecurrent("it runs too often to be followed")
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                try:
                    given = evaluate.run(None, {**outer, **state}) if self._wanted else []
                # An operator of operands that it does not take.
                except Exception as error:
                    raise NotRecurrent("its counters can't be followed") from error
            values = {**state, **dict(zip(self._wanted, map(np.asarray, given), strict=True))}
            self.values.append(values)

            def value(name: str, values: dict[str, np.ndarray] = values) -> np.ndarray:
                return self.constants[name] if name in self.constants else values[name]

            if not value(self.outputs[0]).all():
                break
            state = {name: value(self._after[name]) for name in self.counters}
            state |= {self.inputs[0]: np.array(trip + 1), self.inputs[1]: np.array(True)}
