"""Write ONNX nodes: unique names, constants, and each node named for what it came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import helper, numpy_helper

#: Operators that only prepare others: a source operator's name goes to another node of it.
_HELPERS = {
    "Cast", "Concat", "DequantizeLinear", "Expand", "Pad", "QuantizeLinear", "Reshape", "Shape",
    "Slice", "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip
_INT4 = np.dtype(ml_dtypes.int4)


class Names:
    """Hands out names that are unique in a model.

    Attributes:
        outputs: names of the network's outputs, which inner graphs do not take.
    """

    def __init__(self) -> None:
        self.outputs: frozenset[str] = frozenset()
        self._counts: dict[str, int] = {}
        self._held: frozenset[str] = frozenset()

    def inside(self) -> Names:
        """The names for a graph inside, which differ from these."""
        names = Names()
        names.outputs = names._held = self.outputs
        names._counts = self._counts
        return names

    def unique(self, name: str) -> str:
        """``name``, or ``name_1`` and so on where it is taken."""
        name = name or "tensor"
        if name in self._held:
            return self.unique(f"{name}_1")
        count = self._counts.get(name, 0)
        self._counts[name] = count + 1
        if not count:
            return name
        derived = f"{name}_{count}"
        return self.unique(name if derived in self.outputs else derived)


class Writer:
    """Collects the nodes of one graph. Its constants belong to the model: bodies of loops and
    branches see them from outside.

    Attributes:
        nodes: in order.
        initializers: by name; shared with the writers of inner graphs.
    """

    def __init__(
        self, names: Names | None = None, initializers: dict[str, onnx.TensorProto] | None = None
    ) -> None:
        self.names = names or Names()
        self.initializers = {} if initializers is None else initializers
        self.nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._begun = 0
        self._base = ""

    def inner(self) -> Writer:
        """A writer of a graph inside of this one."""
        return Writer(self.names.inside(), self.initializers)

    def begin(self, base: str) -> None:
        """Name the nodes that follow for ``base``."""
        self.end()
        self._base, self._begun = base, len(self.nodes)

    def end(self) -> None:
        """Give the nodes since :meth:`begin` their names: the one that computes has the base's."""
        made = self.nodes[self._begun :]
        main = next((node for node in made if node.op_type not in _HELPERS), None)
        main = main or (made[-1] if made else None)
        for node in made:
            own = self._base if node is main else f"{self._base}/{node.op_type}"
            node.name = self.names.unique(f"{own}")
        self._begun = len(self.nodes)

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output, and return the output's name. Missing inputs are ``""``."""
        return self.nodes_of(kind, inputs, 1, **attributes)[0]

    def nodes_of(
        self, kind: str, inputs: Sequence[str], outputs: int, **attributes: Any
    ) -> list[str]:
        """Add a node of several outputs, and return their names."""
        names = [self.names.unique(f"{self._base}/{kind}_out") for _ in range(outputs)]
        given = list(inputs)
        while given and not given[-1]:
            given.pop()
        kept = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(kind, given, names, **kept))
        return names

    def rename(self, old: str, new: str) -> bool:
        """Give the result ``old`` of a node since :meth:`begin` the name ``new``; say whether
        there is such a node."""
        made = self.nodes[self._begun :]
        if not any(old in node.output for node in made):
            return False
        for node in made:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    if name == old:
                        names[i] = new
        return True

    def constant(self, array: Any, name: str = "") -> str:
        """Add a constant, or find an equal small one, and return its name."""
        array = np.asarray(array)
        key = (str(array.dtype), array.shape, array.tobytes() if array.size <= 64 else b"")
        if not name and array.size <= 64 and key in self._constants:
            return self._constants[key]
        own = self.names.unique(name or f"{self._base}/constant")
        self.initializers[own] = _tensor(array, own)
        if not name and array.size <= 64:
            self._constants[key] = own
        return own

    def ints(self, values: Any) -> str:
        """A constant vector of int64, as shapes and axes are."""
        return self.constant(np.asarray(values, np.int64).reshape(-1))


def _tensor(array: np.ndarray, name: str) -> onnx.TensorProto:
    if array.dtype == _INT4:
        return helper.make_tensor(
            name, onnx.TensorProto.INT4, array.shape, array.astype(np.int8).reshape(-1)
        )
    return numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)


def onnx_type(dtype: Any) -> int:
    """ONNX's number of a numpy type."""
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
