"""The table of operators: ONNX's name -> a function of torch, which gradients flow through."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
import onnx
import torch

Tensor: TypeAlias = torch.Tensor
Sequence: TypeAlias = list[torch.Tensor]
#: What an operator gives: a tensor, a sequence of them, or one for each of its results.
Results: TypeAlias = torch.Tensor | Sequence | tuple[torch.Tensor | None, ...]
Function: TypeAlias = Callable[..., Results]
F = TypeVar("F", bound=Function)


@dataclass(frozen=True)
class Node:
    """A node of a graph, read once.

    Attributes:
        name: of the node.
        operator: its operator's name, with ``com.microsoft.`` before one of that domain.
        opset: the operator set that it is of.
        attributes: by name, strings as text; where one is left out, the standard's default.
        inputs, outputs: names, empty for what is left out.
        proto: the node as it was.
    """

    name: str
    operator: str
    opset: int
    attributes: Mapping[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    proto: onnx.NodeProto

    def __getitem__(self, attribute: str) -> Any:
        """The attribute's value; KeyError where it has none, not even by default."""
        return self.attributes[attribute]

    def get(self, attribute: str, default: Any = None) -> Any:
        """The attribute's value, or ``default``."""
        return self.attributes.get(attribute, default)


@dataclass(frozen=True)
class Operator:
    """How an operator is computed.

    Attributes:
        function: called with the node and its inputs, None for those that are left out.
        settings: inputs that are numbers of the operator and no data: their constants are not
            trained.
    """

    function: Function
    settings: frozenset[int]


OPERATORS: dict[str, Operator] = {}


def operator(*names: str, settings: tuple[int, ...] = ()) -> Callable[[F], F]:
    """Enter a function in the table, as the operators called ``names``."""

    def enter(function: F) -> F:
        for name in names:
            OPERATORS[name] = Operator(function, frozenset(settings))
        return function

    return enter


def of_floats(function: F) -> F:
    """A function of real numbers, for integers as well: their results are cut off."""

    @functools.wraps(function)
    def compute(node: Node, x: Tensor, *others: Tensor | None) -> Results:
        if x.is_floating_point():
            return function(node, x, *others)
        result = function(node, x.to(torch.float32), *others)
        assert isinstance(result, torch.Tensor)
        return result.to(x.dtype)

    return cast("F", compute)


def numbers(value: Tensor | None) -> list[Any]:
    """The numbers of a constant input, flat; none of one that is left out."""
    return [] if value is None else value.detach().reshape(-1).tolist()


def torch_dtype(element_type: int) -> torch.dtype:
    """The type of torch of an ``onnx.TensorProto`` type."""
    dtype = onnx.helper.tensor_dtype_to_np_dtype(element_type)
    if element_type == onnx.TensorProto.BFLOAT16:
        return torch.bfloat16
    return torch.from_numpy(np.empty(0, dtype)).dtype
