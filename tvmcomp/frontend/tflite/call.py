"""One operator of the source while it is converted: what its converter reads and writes.

A quantized tensor has two ONNX values: the stored integers, under the tensor's name, and the real
numbers, a DequantizeLinear of them. Converters compute with real numbers, and :meth:`Call.give`
quantizes what they give: so every operator stands between Q and DQ, where
:mod:`tvmcomp.passes.integers` finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tvmcomp.frontend.tflite.arrays import dequantized, zeros
from tvmcomp.frontend.tflite.network import Network, Operator, Quantization, Subgraph, Tensor
from tvmcomp.frontend.tflite.read import options_of
from tvmcomp.frontend.tflite.writer import Writer, onnx_type

NHWC_TO_NCHW = {3: [0, 2, 1], 4: [0, 3, 1, 2], 5: [0, 4, 1, 2, 3]}
NCHW_TO_NHWC = {3: [0, 2, 1], 4: [0, 2, 3, 1], 5: [0, 2, 3, 4, 1]}


class Values:
    """The ONNX values of one subgraph's tensors.

    Attributes:
        stored: tensor -> the name of its value as it is stored.
        real: quantized tensor -> the name of its real numbers.
        parts: complex tensor -> the names of its real and its imaginary parts.
        arrays: tensor -> its value, where it is a constant.
        variables: tensor that is a variable's handle -> the variable's name.
    """

    def __init__(self, subgraph: Subgraph) -> None:
        self.subgraph = subgraph
        self.stored: dict[int, str] = {}
        self.real: dict[int, str] = {}
        self.parts: dict[int, tuple[str, str]] = {}
        self.variables: dict[int, str] = {}
        self.arrays: dict[int, np.ndarray] = {
            i: each.array for i, each in enumerate(subgraph.tensors) if each.array is not None
        }


class Call:
    """One operator: its inputs by number, its attributes, and the writer of its nodes.

    Attributes:
        operator: of the source.
        w: writes the nodes.
        network: the whole file, for operators that run other subgraphs.
        state: what all subgraphs share; see :mod:`tvmcomp.frontend.tflite.variables`.
    """

    def __init__(
        self, operator: Operator, values: Values, writer: Writer, network: Network, state: Any
    ) -> None:
        self.operator = operator
        self.values = values
        self.w = writer
        self.network = network
        self.state = state

    # What the source says.

    def options(self, name: str) -> Any:
        """The attributes, by the ``tflite`` package's class ``name``."""
        return options_of(self.operator, name)

    def has(self, i: int) -> bool:
        """Whether input ``i`` is given."""
        return i < len(self.operator.inputs) and self.operator.inputs[i] >= 0

    def tensor(self, i: int) -> Tensor:
        """Input ``i``.

        Raises:
            ValueError: it is not given.
        """
        return self.values.subgraph.tensors[self._index(i)]

    def tensors(self) -> list[Tensor]:
        """Every input that is given, and the first output."""
        return [
            *(self.tensor(i) for i in range(len(self.operator.inputs)) if self.has(i)),
            self.out(),
        ]

    def out(self, i: int = 0) -> Tensor:
        """Output ``i``."""
        if i >= len(self.operator.outputs):
            raise ValueError(f"it has {len(self.operator.outputs)} outputs")
        return self.values.subgraph.tensors[self.operator.outputs[i]]

    def shape(self, i: int) -> tuple[int, ...]:
        """The sizes of input ``i``, -1 where one is known at run time only.

        Raises:
            ValueError: its rank is not known.
        """
        shape = self.tensor(i).shape
        if shape is None:
            raise ValueError(f"the rank of its input {self.tensor(i).name!r} is not known")
        return shape

    def static(self, i: int) -> tuple[int, ...]:
        """The sizes of input ``i``, all of which are known.

        Raises:
            ValueError: one is not.
        """
        shape = self.shape(i)
        if any(size < 0 for size in shape):
            raise ValueError(f"the shape {list(shape)} of its input {i} depends on run-time values")
        return shape

    def rank(self, i: int) -> int:
        """How many dimensions input ``i`` has."""
        return len(self.shape(i))

    def array(self, i: int) -> np.ndarray | None:
        """Input ``i`` as it is stored, where it is a constant."""
        if not self.has(i):
            return None
        array = self.values.arrays.get(self._index(i))
        if array is None and 0 in self.tensor(i).default_shape and self.tensor(i).dtype is not None:
            return np.zeros(self.tensor(i).default_shape, self.tensor(i).dtype)
        return array

    def constant(self, i: int) -> np.ndarray:
        """Input ``i`` as it is stored.

        Raises:
            ValueError: it is no constant.
        """
        array = self.array(i)
        if array is None:
            raise ValueError(f"its input {self.tensor(i).name!r} is not a constant")
        return array

    def real_array(self, i: int) -> np.ndarray | None:
        """Input ``i`` as the real numbers it stands for, where it is a constant."""
        array = self.array(i)
        if array is None or self.tensor(i).quantization is None:
            return array
        return dequantized(array, self.tensor(i).quantization)

    # Values to compute with.

    def stored(self, i: int) -> str:
        """The ONNX value of input ``i``, as it is stored; ``""`` where it is not given."""
        return self.stored_of(self._index(i)) if self.has(i) else ""

    def stored_of(self, index: int) -> str:
        """The ONNX value of a tensor of the subgraph, as it is stored."""
        values = self.values
        if index not in values.stored:
            tensor = values.subgraph.tensors[index]
            if index in values.parts:
                raise ValueError(f"it computes with {tensor.name!r}, which is complex")
            array = values.arrays.get(index)
            if array is None and tensor.dtype is not None:  # a variable, or nothing
                array = zeros(tensor.default_shape, tensor.dtype)
            if array is None:
                raise ValueError(f"tensor {tensor.name!r} is no array of numbers")
            values.stored[index] = self.w.constant(array, tensor.name)
        return values.stored[index]

    def real(self, i: int) -> str:
        """The ONNX value of input ``i``, as the numbers that it stands for; ``""`` without it."""
        if not self.has(i):
            return ""
        tensor, index = self.tensor(i), self._index(i)
        if not tensor.quantized:
            return self.stored(i)
        if index not in self.values.real:
            stored = self.stored(i)
            self.values.real[index] = self.dequantize(stored, tensor.quantization, tensor.dtype)
        return self.values.real[index]

    def is_complex(self, i: int) -> bool:
        """Whether input ``i`` holds complex numbers."""
        return self.has(i) and self.operator.inputs[i] in self.values.parts

    def parts(self, i: int) -> tuple[str, str]:
        """The ONNX values of the real and the imaginary parts of input ``i``."""
        if not self.is_complex(i):
            raise ValueError(f"its input {self.tensor(i).name!r} is not complex")
        return self.values.parts[self._index(i)]

    def ints(self, i: int) -> str:
        """Input ``i`` as a vector of int64: a shape, axes, or the like."""
        array = self.array(i)
        if array is not None:
            return self.w.ints(array)
        name = self.stored(i)
        if self.tensor(i).dtype != np.int64:
            name = self.w.node("Cast", name, to=onnx_type("int64"))
        return name if self.tensor(i).shape else self.w.node("Reshape", name, self.w.ints([-1]))

    def dequantize(self, name: str, quantization: Quantization | None, dtype: Any) -> str:
        """The real numbers that the value ``name`` of ``dtype`` stands for."""
        assert quantization is not None
        return self.w.node("DequantizeLinear", name, *self._parameters(quantization, dtype))

    def quantize(self, name: str, tensor: Tensor) -> str:
        """The numbers of the value ``name``, quantized as ``tensor`` is."""
        assert tensor.quantization is not None
        return self.w.node(
            "QuantizeLinear", name, *self._parameters(tensor.quantization, tensor.dtype)
        )

    def requantized(self, name: str, i: int) -> str:
        """``name``, moved data of input ``i`` that an anchor reads: between Q and DQ again."""
        tensor = self.tensor(i)
        if not tensor.quantized:
            return name
        return self.dequantize(self.quantize(name, tensor), tensor.quantization, tensor.dtype)

    def _parameters(self, quantization: Quantization, dtype: Any) -> list[str]:
        if not quantization.per_tensor:
            raise ValueError("an activation has several scales")
        return [
            self.w.constant(quantization.scale.reshape(())),
            self.w.constant(quantization.zero_point.reshape(()).astype(dtype)),
        ]

    # Results.

    def give(self, name: str, i: int = 0) -> None:
        """Make ``name``, in real numbers, the output ``i``."""
        tensor = self.out(i)
        self.give_stored(self.quantize(name, tensor) if tensor.quantized else name, i)

    def give_stored(self, name: str, i: int = 0) -> None:
        """Make ``name`` the output ``i`` as it is stored."""
        index = self.operator.outputs[i]
        self.values.stored[index] = name
        wanted = self.w.names.unique(self.out(i).name)
        if self.w.rename(name, wanted):
            self.values.stored[index] = wanted
            for other in self.operator.inputs:  # it may be the real numbers of an input
                if self.values.real.get(other) == name:
                    self.values.real[other] = wanted

    def give_parts(self, real: str, imaginary: str) -> None:
        """Make two values the parts of the complex output 0."""
        self.values.parts[self.operator.outputs[0]] = real, imaginary

    def give_array(self, array: np.ndarray, i: int = 0) -> None:
        """Make a constant the output ``i``, as it is stored."""
        self.values.arrays[self.operator.outputs[i]] = array

    # Nodes that many converters write.

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """See :meth:`Writer.node`."""
        return self.w.node(kind, *inputs, **attributes)

    def number(self, value: float, like: int = 0) -> str:
        """A scalar constant of the type that input ``like`` is computed in."""
        tensor = self.tensor(like)
        dtype = np.dtype("float32") if tensor.quantized or tensor.dtype is None else tensor.dtype
        return self.w.constant(np.asarray(value, dtype))

    def transposed(self, name: str, axes: Sequence[int]) -> str:
        """``name`` with its axes permuted."""
        return self.node("Transpose", name, perm=list(axes))

    def channels_first(self, name: str, rank: int = 4) -> str:
        """An NHWC value as NCHW."""
        return self.transposed(name, NHWC_TO_NCHW[rank])

    def channels_last(self, name: str, rank: int = 4) -> str:
        """An NCHW value as NHWC."""
        return self.transposed(name, NCHW_TO_NHWC[rank])

    def cast(self, name: str, dtype: Any) -> str:
        """``name`` as another type."""
        return self.node("Cast", name, to=onnx_type(dtype))

    def activated(self, name: str, function: int) -> str:
        """``name`` through a fused activation, by its number in the schema.

        Raises:
            ValueError: there is no such activation.
        """
        if function == 0:
            return name
        if function == 1:
            return self.node("Relu", name)
        if function in (2, 3):
            low, high = (-1.0, 1.0) if function == 2 else (0.0, 6.0)
            bounds = (self.w.constant(np.float32(bound)) for bound in (low, high))
            return self.node("Clip", name, *bounds)
        if function == 4:
            return self.node("Tanh", name)
        raise ValueError(f"its fused activation {function} is not known")

    def _index(self, i: int) -> int:
        if not self.has(i):
            raise ValueError(f"it has no input {i}")
        return self.operator.inputs[i]


#: Writes the nodes of one operator; what it raises says why it can't.
Converter = Callable[[Call], None]
