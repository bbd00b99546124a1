"""What a TensorFlow Lite file holds, as plain values: subgraphs of tensors and operators.

Nothing here points into the file: :mod:`tvmcomp.frontend.tflite.read` checked all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

#: The types of tensors by their numbers in the file. RESOURCE is a handle of a variable.
TYPES: dict[int, Any] = {
    0: np.dtype("float32"), 1: np.dtype("float16"), 2: np.dtype("int32"), 3: np.dtype("uint8"),
    4: np.dtype("int64"), 6: np.dtype("bool"), 7: np.dtype("int16"), 9: np.dtype("int8"),
    10: np.dtype("float64"), 12: np.dtype("uint64"), 15: np.dtype("uint32"),
    16: np.dtype("uint16"), 17: np.dtype(ml_dtypes.int4), 18: np.dtype(ml_dtypes.bfloat16),
}  # fmt: skip
RESOURCE = 13


@dataclass(frozen=True)
class Quantization:
    """real = scale * (stored - zero_point), with one scale or one for each index of an axis."""

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int

    @property
    def per_tensor(self) -> bool:
        """Whether there is one scale."""
        return self.scale.size == 1


@dataclass(frozen=True)
class Tensor:
    """One tensor of a subgraph.

    Attributes:
        name: as the file has it; several may share one.
        shape: its sizes, -1 where the size is known at run time only; None without a rank.
        default_shape: its sizes as the file was written, none of them -1.
        dtype: None for what is no array (a handle of a variable, texts).
        array: the value of a constant.
        quantization: None where the stored numbers are the real ones.
        variable: it keeps its value from one operator to its next run, and starts as zeros.
    """

    name: str
    shape: tuple[int, ...] | None
    default_shape: tuple[int, ...]
    dtype: np.dtype | None
    array: np.ndarray | None
    quantization: Quantization | None
    variable: bool

    @property
    def quantized(self) -> bool:
        """Whether it stands for real numbers in integers of up to 16 bits."""
        return (
            self.quantization is not None
            and self.dtype is not None
            and self.dtype.name in ("int8", "uint8", "int16", "int4")
        )


@dataclass(frozen=True)
class Operator:
    """One operator of a subgraph.

    Attributes:
        kind: its name in TensorFlow Lite's schema (``CONV_2D``), or the custom operator's own.
        custom: whether it is none of TensorFlow Lite's.
        inputs, outputs, intermediates: indices of tensors; -1 for an input that is left out.
        options: the ``tflite`` package's reader of its attributes; defaults where it has none.
        custom_options: a custom operator's attributes, as bytes.
    """

    kind: str
    custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    intermediates: tuple[int, ...]
    options: Any
    custom_options: bytes = b""


@dataclass(frozen=True)
class Subgraph:
    """A function of tensors: the network itself, a branch, or the body of a loop."""

    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Network:
    """A whole file.

    Attributes:
        subgraphs: the first one is the network.
        signatures: name -> (subgraph, name -> input tensor, name -> output tensor).
    """

    subgraphs: tuple[Subgraph, ...]
    signatures: dict[str, tuple[int, dict[str, int], dict[str, int]]] = field(default_factory=dict)
