"""What is rounded in a graph, and what is not and why: a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tvmcomp.compress.fake_quantize.weights import Weight


@dataclass(frozen=True)
class Planned:
    """An operator and what rounding it means.

    Attributes:
        node: its name.
        kind: its ONNX operator.
        reads: the tensors that are rounded for it; empty where it reads only registers.
        readers: the nodes that read them so (several for a table's chain).
        quantized: whether it runs in integers.
        reason: why not.
    """

    node: str
    kind: str
    reads: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    quantized: bool = False
    reason: str | None = None


@dataclass(frozen=True)
class Plan:
    """What is rounded in a graph.

    Attributes:
        operators: in the graph's order.
        weights: likewise, those of operators that compute in float because of their data among
            them; a constant that several operators read is there once, with the first.
        multiplied: weight -> the nodes that read it rounded.
    """

    operators: tuple[Planned, ...]
    weights: tuple[Weight, ...]
    multiplied: Mapping[str, tuple[str, ...]]

    @property
    def activations(self) -> dict[str, tuple[str, ...]]:
        """Tensor -> the nodes that read it rounded."""
        found: dict[str, dict[str, None]] = {}
        for operator in self.operators:
            for tensor in operator.reads:
                found.setdefault(tensor, {}).update(dict.fromkeys(operator.readers))
        return {tensor: tuple(readers) for tensor, readers in found.items()}
