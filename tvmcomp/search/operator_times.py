"""What each operator of a network takes in it: from the times of kernels' calls, with the real
neighbours, fusions and changes of number format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from tvmcomp.artifact.metadata import Metadata
from tvmcomp.frontend.onnx.identifiers import Identifiers
from tvmcomp.model import Operator


def operator_times(
    metadata: Metadata, calls_ms: Mapping[str, Sequence[float]], whole_ms: float
) -> dict[str, float]:
    """The ms of each node of the source model, by its identifier; they add up to the whole, but for
    what no name tells of. Empty where nothing was profiled.

    A call counts to what multiplies in it, else to all that it computes, in equal parts.

    Args:
        metadata: of the artifact.
        calls_ms: kernel -> each of its calls in one inference.
        whole_ms: of one inference: to look at the clock takes some, so that calls are scaled.
    """
    if not calls_ms:
        return {}
    factor = whole_ms / (sum(map(sum, calls_ms.values())) or 1.0)
    found: dict[str, float] = {}
    for kernel in metadata.kernels:
        taken = list(calls_ms.get(kernel.name, ()))
        if len(taken) != len(kernel.calls):  # in a loop
            taken = [sum(taken) / len(kernel.calls)] * len(kernel.calls)
        for positions, ms in zip(kernel.calls, taken, strict=True):
            names = _counted([metadata.operators[i] for i in positions])
            for name in names:
                found[name] = found.get(name, 0.0) + factor * ms / len(names)
    return found


def of_nodes(times: Mapping[str, float], nodes: Iterable[str]) -> float:
    """The ms of some nodes together, and of the factors that low rank makes of them.

    Args:
        times: of :func:`operator_times`.
        nodes: names in the ONNX graph.
    """
    names = {identifier(each) for node in nodes for each in (node, f"{node}.0", f"{node}.1")}
    return sum(times.get(name, 0.0) for name in names)


@lru_cache(4096)
def identifier(node: str) -> str:
    """What an artifact calls a node of the source model."""
    return Identifiers().unique(node)


def _counted(operators: Sequence[Operator]) -> list[str]:
    """The nodes that a call of these operators counts to."""
    multiplying = [operator for operator in operators if operator.macs] or operators
    # A node's first operators are called NODE__OPERATOR.
    return sorted({operator.name.partition("__")[0] for operator in multiplying})
