"""What a generator draws from: shapes, element types, tensors, attributes, all of one seed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

MICROSOFT = "com.microsoft"
#: Sizes of axes: one often, odd ones, and one that fills a vector register.
_SIZES = (1, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17)
#: No tensor of a case has more elements than that.
_LARGEST = 3000
#: onnx's names of element types that are numpy's under another name.
_NAMES = {"float": "float32", "double": "float64"}
#: Element types that an input of a compiled network can have.
DTYPES = frozenset(
    {"float16", "float32", "float64", "bool"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)


@dataclass
class Case:
    """A model under construction: nodes, what feeds them, what they give.

    Attributes:
        operator: its name, with ``com.microsoft.`` before one of that domain.
        seed: with operator and opset, it makes the case again.
        inputs: what is fed at run time.
        weights: constants.
        types: element types of outputs that are no standard operator's, by name.
        tolerance: relative and absolute (in units of the largest value), of float outputs.
    """

    operator: str
    seed: int
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    weights: dict[str, np.ndarray | onnx.TensorProto] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)
    tolerance: float | None = None

    @property
    def name(self) -> str:
        return f"{self.operator}-{self.opset}-{self.seed}"

    def describe(self) -> str:
        """The case in a line: its nodes with their attributes, shapes and types."""
        tensors = {**self.inputs, **self.weights}

        def text(name: str) -> str:
            tensor = tensors.get(name)
            if isinstance(tensor, onnx.TensorProto):
                kind = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
                return f"constant {kind}{tuple(tensor.dims)}"
            if tensor is None:
                return name or "-"
            short = f"={tensor.tolist()}" if tensor.size < 9 and name in self.weights else ""
            kind = "constant " if name in self.weights else ""
            return f"{kind}{tensor.dtype}{tensor.shape}{short}"

        nodes = []
        for node in self.nodes:
            settings = ", ".join(
                f"{a.name}={onnx.helper.get_attribute_value(a)!r}"[:80] for a in node.attribute
            )
            nodes.append(f"{node.op_type}({', '.join(map(text, node.input))}; {settings})")
        return f"{self.name}: " + " -> ".join(nodes)


class Draw:
    """Draws one case of ``operator`` in the operator set ``opset``."""

    def __init__(self, operator: str, opset: int, seed: int) -> None:
        self.case = Case(operator, seed, opset)
        self.operator = operator.removeprefix(f"{MICROSOFT}.")
        self.domain = MICROSOFT if "." in operator else ""
        self.opset = opset
        self.rng = np.random.default_rng([seed, opset, *operator.encode()])

    # Choices

    def choose(self, values: Sequence[Any]) -> Any:
        """One of ``values``."""
        return values[int(self.rng.integers(len(values)))]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def size(self, low: int, high: int) -> int:
        """An integer from ``low`` to ``high``, both included."""
        return int(self.rng.integers(low, high + 1))

    def maybe(self, **values: Any) -> dict[str, Any]:
        """Each of ``values``, or its default, that is nothing."""
        return {name: value for name, value in values.items() if self.chance(0.6)}

    def shape(self, low: int = 0, high: int = 4, sizes: Sequence[int] = _SIZES) -> list[int]:
        """A shape of ``low`` to ``high`` axes."""
        return self.sized(self.size(low, high), sizes)

    def sized(self, rank: int, sizes: Sequence[int] = _SIZES) -> list[int]:
        """A shape of ``rank`` axes."""
        shape = [int(self.choose(sizes)) for _ in range(rank)]
        while np.prod(shape) > _LARGEST:
            widest = int(np.argmax(shape))
            shape[widest] = max(shape[widest] // 2, 1)
        return shape

    def broadcast(self, count: int, low: int = 0, high: int = 4) -> list[list[int]]:
        """``count`` shapes that broadcast together."""
        full = self.shape(low, high)
        shapes = []
        for _ in range(count):
            part = full[self.size(0, len(full) - low) :] if self.chance(0.5) else full
            shapes.append([1 if self.chance(0.2) else size for size in part])
        return shapes

    def axis(self, rank: int) -> int:
        """An axis of a tensor, counted from either end (from the start before set 11)."""
        return self.size(-rank if self.opset >= 11 else 0, rank - 1)

    def axes(self, rank: int, low: int = 1, high: int | None = None) -> list[int]:
        """Some different axes, in any order, counted from either end."""
        count = self.size(min(low, rank), rank if high is None else min(high, rank))
        chosen = self.rng.permutation(rank)[:count]
        return [int(a) - (rank if self.opset >= 11 and self.chance(0.3) else 0) for a in chosen]

    # Element types

    def dtypes(self, letter: str) -> list[str]:
        """The element types that the standard allows for the type ``letter``."""
        schema = onnx.defs.get_schema(self.operator, self.opset, self.domain)
        (allowed,) = (
            c.allowed_type_strs for c in schema.type_constraints if c.type_param_str == letter
        )
        found = [_NAMES.get(n, n) for n in (t[7:-1] for t in allowed if t.startswith("tensor("))]
        return sorted(DTYPES & set(found))

    def dtype(self, letter: str = "T", *, without: Sequence[str] = ()) -> str:
        """One of those types; float32, which networks use most, more often than others."""
        allowed = [dtype for dtype in self.dtypes(letter) if dtype not in without]
        if "float32" in allowed and self.chance(0.35):
            return "float32"
        return self.choose(allowed)

    # Tensors

    def array(
        self, dtype: str, shape: Sequence[int], low: float = -4, high: float = 4
    ) -> np.ndarray:
        """Random values from ``low`` to ``high``, as far as the type holds them."""
        if dtype == "bool":
            return self.rng.random(shape) < 0.5
        if np.dtype(dtype).kind in "iu":
            info = np.iinfo(dtype)
            low, high = max(int(np.ceil(low)), info.min), min(int(np.floor(high)), info.max)
            return self.rng.integers(low, max(high, low), shape, dtype, endpoint=True)
        return self.rng.uniform(low, high, shape).astype(dtype)

    def wide(self, dtype: str, shape: Sequence[int]) -> np.ndarray:
        """Random values; of integers sometimes from the whole range, which then overflows."""
        if np.dtype(dtype).kind in "iu" and self.chance(0.3):
            info = np.iinfo(dtype)
            return self.rng.integers(info.min, info.max, shape, dtype, endpoint=True)
        return self.array(dtype, shape)

    def input(self, array: np.ndarray) -> str:
        """A tensor that is fed at run time; returns its name."""
        name = f"i{len(self.case.inputs)}"
        self.case.inputs[name] = np.asarray(array)
        return name

    def constant(self, array: Any) -> str:
        """A tensor that is known at build time; integers become int64."""
        name = f"w{len(self.case.weights)}"
        self.case.weights[name] = (
            array if isinstance(array, onnx.TensorProto) else np.asarray(array)
        )
        return name

    def tensor(self, array: np.ndarray) -> str:
        """A tensor that is fed, or sometimes constant."""
        return self.constant(array) if self.chance(0.2) else self.input(array)

    # Nodes

    def node(self, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> list[str]:
        """Add the operator itself; its outputs are the case's."""
        names = self.step(self.operator, inputs, outputs, self.domain, **attributes)
        self.case.outputs += names
        return names

    def step(
        self,
        operator: str,
        inputs: Sequence[str],
        outputs: int = 1,
        domain: str = "",
        **attributes: Any,
    ) -> list[str]:
        """Add a node whose outputs are no outputs of the case; returns their names."""
        index = len(self.case.nodes)
        names = [f"t{index}_{i}" for i in range(outputs)]
        self.case.nodes.append(
            onnx.helper.make_node(operator, inputs, names, domain=domain, **attributes)
        )
        return names

    def give(self, *names: str) -> None:
        """Make tensors outputs of the case."""
        self.case.outputs += names


Generator = Callable[[Draw], None]
#: Operator -> what draws cases of it.
GENERATORS: dict[str, Generator] = {}


def generates(*operators: str) -> Callable[[Generator], Generator]:
    """Register a generator for ``operators``."""

    def register(generator: Generator) -> Generator:
        for operator in operators:
            assert operator not in GENERATORS, operator
            GENERATORS[operator] = generator
        return generator

    return register


@functools.cache
def opsets_of(operator: str) -> tuple[int, ...]:
    """Operator sets to test ``operator`` in: the first and the last of each version of it."""
    if operator.startswith(MICROSOFT):
        return (13, 18, 22)
    newest = onnx.defs.onnx_opset_version() - 1
    chosen = set()
    for opset in range(7, newest + 1):
        try:
            schema = onnx.defs.get_schema(operator, opset)
        except onnx.defs.SchemaError:
            continue
        if not schema.deprecated:
            chosen |= {schema.since_version if schema.since_version >= 7 else 7, opset}
    versions = {
        onnx.defs.get_schema(operator, opset).since_version: opset for opset in sorted(chosen)
    }
    return tuple(sorted({max(v, 7) for v in versions} | set(versions.values())))


def draw(operator: str, opset: int, seed: int) -> Case:
    """Draw a case of ``operator``."""
    one = Draw(operator, opset, seed)
    GENERATORS[operator](one)
    return one.case
