"""Random Loops and Scans: bodies, states, rows, conditions, loops in loops and in branches."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

node = helper.make_node
_KINDS = {
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "bool": TensorProto.BOOL,
}
_SHAPES = [(), (1,), (3,), (2, 3), (1, 4), (2, 1, 3)]


@dataclass
class Tensor:
    """A tensor of the graph that is drawn."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def info(self):
        return helper.make_tensor_value_info(self.name, _KINDS[self.dtype], self.shape)


@dataclass
class Scope:
    """What can be read where nodes are written."""

    tensors: list[Tensor]
    nodes: list = field(default_factory=list)


class LoopCase:
    """A model drawn from ``seed``, and inputs for it.

    Attributes:
        padded: a loop whose rows' number depends on data gives an output: compare that many.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.count = 0
        self.constants: list[onnx.TensorProto] = []
        self.feeds: dict[str, np.ndarray] = {}
        inputs = [self.input(self.draw(["float32", "float32", "int64", "int32", "float64"]))
                  for _ in range(3)]  # fmt: skip
        scope = Scope(list(inputs))
        self.compute(scope, 2)
        results = self.loop(scope, depth=0)
        if self.rng.random() < 0.4:
            results += self.branch(scope)
        if self.rng.random() < 0.4:
            results += self.scan(scope, depth=0)
        self.compute(scope, 2)
        outputs = [*results, scope.tensors[-1]]
        named = []
        for i, tensor in enumerate(outputs):
            scope.nodes.append(node("Identity", [tensor.name], [f"out{i}"], name=f"give{i}"))
            named.append(helper.make_tensor_value_info(f"out{i}", _KINDS[tensor.dtype], None))
        graph = helper.make_graph(
            scope.nodes, "loops", [tensor.info for tensor in self.inputs], named, self.constants
        )
        self.model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
        )

    @property
    def inputs(self):
        return [Tensor(name, str(array.dtype), array.shape) for name, array in self.feeds.items()]

    def draw(self, choices):
        return choices[self.rng.integers(len(choices))]

    def name(self, what):
        self.count += 1
        return f"{what}_{self.count}"

    def constant(self, value, dtype=None):
        array = np.asarray(value, dtype)
        name = self.name("c")
        self.constants.append(numpy_helper.from_array(array, name))
        return Tensor(name, str(array.dtype), array.shape)

    def input(self, dtype, shape=None):
        shape = self.draw(_SHAPES) if shape is None else shape
        name = self.name("x")
        array = np.asarray(self.rng.normal(size=shape) * 3)
        self.feeds[name] = array.astype(dtype)
        return Tensor(name, dtype, tuple(shape))

    def emit(self, scope, operator, inputs, dtype, shape, **attributes):
        name = self.name(operator)
        scope.nodes.append(
            node(operator, [tensor.name for tensor in inputs], [name], name=name, **attributes)
        )
        result = Tensor(name, dtype, tuple(shape))
        scope.tensors.append(result)
        return result

    def compute(self, scope, steps):
        """Some operators on what there is."""
        for _ in range(steps):
            a = self.draw(scope.tensors)
            if a.dtype == "bool":
                self.emit(scope, "Not", [a], "bool", a.shape)
                continue
            same = [t for t in scope.tensors if (t.dtype, t.shape) == (a.dtype, a.shape)]
            choice = self.rng.integers(4)
            if choice == 0:
                self.bounded(scope, self.emit(scope, "Add", [a, self.draw(same)], a.dtype, a.shape))
            elif choice == 1:
                self.emit(scope, "Neg", [a], a.dtype, a.shape)
            elif choice == 2 and a.dtype == "float32":
                self.emit(scope, "Tanh", [a], a.dtype, a.shape)
            elif a.dtype == "float32" and len(a.shape) == 2:
                weight = self.constant(self.rng.normal(size=(a.shape[1], 3)) / 2, "float32")
                self.emit(scope, "MatMul", [a, weight], a.dtype, (a.shape[0], 3))

    def bounded(self, scope, a):
        """``a`` where rounding can't grow from trip to trip."""
        if a.dtype.startswith("float"):
            low, high = self.constant(-4, a.dtype), self.constant(4, a.dtype)
            return self.emit(scope, "Clip", [a, low, high], a.dtype, a.shape)
        return self.emit(scope, "Mod", [a, self.constant(7, a.dtype)], a.dtype, a.shape)

    def next_state(self, scope, state):
        """A tensor like ``state``, of which it may depend."""
        like = [t for t in scope.tensors if (t.dtype, t.shape) == (state.dtype, state.shape)]
        other = self.draw(like)
        if state.dtype == "bool":
            return self.emit(scope, "Xor", [state, other], "bool", state.shape)
        if self.rng.random() < 0.15:
            return other
        return self.bounded(
            scope, self.emit(scope, "Sub", [state, other], state.dtype, state.shape)
        )

    def loop(self, scope, depth):
        """A Loop; its states and rows."""
        rng = self.rng
        first = [self.draw(scope.tensors) for _ in range(rng.integers(1, 4))]
        most = int(self.draw([0, 1, 2, 3, 5, 9, 20]))
        has_count, has_condition = self.draw([(1, 0), (1, 1), (0, 1), (1, 0)])
        counted = bool(has_count and rng.random() < 0.4)  # when the network runs
        inner = Scope([Tensor(self.name("i"), "int64", ()), Tensor(self.name("going"), "bool", ())])
        states = [Tensor(self.name("s"), t.dtype, t.shape) for t in first]
        own = list(inner.tensors)
        inner.tensors += states
        outer = [t for t in scope.tensors if rng.random() < 0.4]
        inner.tensors += outer
        self.compute(inner, int(rng.integers(1, 4)))
        rows = []
        if depth < 1 and rng.random() < 0.2:
            self.branch(inner)
        if depth < 1 and rng.random() < 0.3:
            self.loop(inner, depth + 1)
        elif depth < 2 and rng.random() < 0.3:
            self.scan(inner, depth + 1)
        after = [self.next_state(inner, state) for state in states]
        ends_by_data = bool(has_condition and rng.random() < 0.6)
        if not counted and not ends_by_data:
            rows = [self.draw(inner.tensors[2:]) for _ in range(rng.integers(0, 3))]
        if has_condition:
            end = self.constant(int(rng.integers(1, 8)), "int64")
            condition = self.emit(inner, "Less", [own[0], end], "bool", ())
            if ends_by_data:
                numbers = [t for t in inner.tensors if t.dtype == "float32"]
                if numbers:
                    a = self.draw(numbers)
                    axes = {"keepdims": 0}
                    largest = self.emit(inner, "ReduceMax", [a], "float32", (), **axes)
                    limit = self.constant(rng.normal() + 1.5, "float32")
                    on = self.emit(inner, "Less", [largest, limit], "bool", ())
                    condition = self.emit(inner, "And", [condition, on], "bool", ())
        else:
            condition = own[1]
        graph = self.body(inner, [*own, *states], [condition, *after, *rows])
        count = Tensor("", "int64", ())
        if counted:
            count = self.input("int64", ())
            self.feeds[count.name] = np.array(most)
        elif has_count:
            count = self.constant(most, "int64")
        start = Tensor("", "bool", ())
        if has_condition and rng.random() < 0.5:
            start = self.constant(bool(rng.random() < 0.9), "bool")
        outputs = [Tensor(self.name("state"), t.dtype, t.shape) for t in first]
        given = [Tensor(self.name("rows"), t.dtype, (-1, *t.shape)) for t in rows]
        scope.nodes.append(
            node(
                "Loop",
                [t.name for t in (count, start, *first)],
                [t.name for t in (*outputs, *given)],
                name=self.name("loop"),
                body=graph,
            )
        )
        scope.tensors += outputs
        return [*outputs, *given]

    def scan(self, scope, depth):
        """A Scan over some of the tensors that have elements in a row."""
        rng = self.rng
        size = int(rng.integers(1, 6))
        sources, axes = [], []
        for _ in range(rng.integers(1, 3)):
            shape = list(self.draw([(), (3,), (2, 3)]))
            axis = int(rng.integers(len(shape) + 1))
            shape.insert(axis, size)
            values = rng.normal(size=shape)
            sources.append(self.constant(values, "float32") if depth else
                           self.input("float32", tuple(shape)))  # fmt: skip
            axes.append(axis - len(shape) if rng.random() < 0.3 else axis)
        plain = [t for t in scope.tensors if t.name]
        first = [self.draw(plain) for _ in range(rng.integers(0, 3))]
        states = [Tensor(self.name("s"), t.dtype, t.shape) for t in first]
        slices = []
        for source, axis in zip(sources, axes, strict=True):
            shape = list(source.shape)
            del shape[axis]
            slices.append(Tensor(self.name("slice"), source.dtype, tuple(shape)))
        inner = Scope([*states, *slices, *(t for t in scope.tensors if rng.random() < 0.3)])
        self.compute(inner, int(rng.integers(1, 4)))
        after = [self.next_state(inner, state) for state in states]
        rows = [self.draw(inner.tensors) for _ in range(rng.integers(1, 3))]
        rows = [self.emit(inner, "Identity", [t], t.dtype, t.shape) for t in rows]
        graph = self.body(inner, [*states, *slices], [*after, *rows])
        outputs = [Tensor(self.name("state"), t.dtype, t.shape) for t in first]
        out_axes = [int(rng.integers(len(t.shape) + 1)) for t in rows]
        given = []
        for t, axis in zip(rows, out_axes, strict=True):
            shape = list(t.shape)
            shape.insert(axis, size)
            given.append(Tensor(self.name("rows"), t.dtype, tuple(shape)))
        scope.nodes.append(
            node(
                "Scan",
                [t.name for t in (*first, *sources)],
                [t.name for t in (*outputs, *given)],
                name=self.name("scan"),
                body=graph,
                num_scan_inputs=len(sources),
                scan_input_axes=axes,
                scan_input_directions=[int(rng.integers(2)) for _ in sources],
                scan_output_axes=out_axes,
                scan_output_directions=[int(rng.integers(2)) for _ in rows],
            )
        )
        scope.tensors += [*outputs, *given]
        return [*outputs, *given]

    def branch(self, scope):
        """An If, whose condition depends on data, with a loop in one of its branches."""
        numbers = [t for t in scope.tensors if t.dtype == "float32" and -1 not in t.shape]
        if not numbers:
            return []
        a = self.draw(numbers)
        largest = self.emit(scope, "ReduceMax", [a], "float32", (), keepdims=0)
        limit = self.constant(self.rng.normal(), "float32")
        condition = self.emit(scope, "Less", [largest, limit], "bool", ())
        inner = Scope(list(scope.tensors))
        result = self.loop(inner, depth=1)[0]
        branches = []
        for nodes, tensor in ((inner.nodes, result), ([], None)):
            name = self.name("branch")
            if tensor is None:
                shape = helper.make_tensor_value_info(name, _KINDS[result.dtype], result.shape)
                zeros = self.constant(np.zeros(result.shape), result.dtype)
                nodes = [node("Identity", [zeros.name], [name], name=name)]
            else:
                shape = helper.make_tensor_value_info(name, _KINDS[result.dtype], result.shape)
                nodes = [*nodes, node("Identity", [tensor.name], [name], name=name)]
            branches.append(helper.make_graph(nodes, name, [], [shape]))
        if self.rng.random() < 0.5:
            branches.reverse()
        name = self.name("If")
        scope.nodes.append(
            node("If", [condition.name], [name], name=name,
                 then_branch=branches[0], else_branch=branches[1])
        )  # fmt: skip
        chosen = Tensor(name, result.dtype, result.shape)
        scope.tensors.append(chosen)
        return [chosen]

    def body(self, inner, inputs, results):
        """The graph; each result has a name of its own."""
        named = []
        for tensor in results:
            name = self.name("result")
            inner.nodes.append(node("Identity", [tensor.name], [name], name=name))
            named.append(Tensor(name, tensor.dtype, tensor.shape))
        return helper.make_graph(
            inner.nodes, "body", [t.info for t in inputs], [t.info for t in named]
        )
