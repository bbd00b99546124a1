"""A network run node by node over all samples, so that a weight is chosen on what reaches it.

The samples are kept in portions; of each only the tensors that are still read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import onnx
import torch

from tvmcomp.compress.fake_quantize.graph import Graph
from tvmcomp.compress.fake_quantize.samples_at_once import (
    over_samples,
    samples_together,
    stacked,
)
from tvmcomp.compress.network import TrainableNetwork, compute_node
from tvmcomp.compress.operators.table import Node, Tensor
from tvmcomp.compress.samples import Sample

#: Bytes that the tensors of all samples may take at a time.
_MEMORY = 2**30


class Lockstep:
    """The tensors of a network as far as it has run.

    Attributes:
        network: the network; its weights may be changed before the node that reads them runs.
        portions: for each portion of the samples, tensor -> its values, with an axis of samples in
            front.
        shared: tensor -> its value, of those that don't depend on the samples.
    """

    def __init__(self, network: TrainableNetwork, samples: Sequence[Sample]) -> None:
        self.network = network
        count = samples_together(network.model, ())
        self.portions: list[dict[str, Tensor]] = []
        for start in range(0, len(samples), count):
            inputs = stacked(network.inputs, samples[start : start + count])
            self.portions.append(dict(zip(network.inputs, inputs, strict=True)))
        self.shared: dict[str, Any] = {}
        self._constants = network.constants()
        self._last_use = last_uses(network)
        self._kept: set[str] = set()

    def run(self, index: int) -> None:
        """Run the node at ``index``, and forget what nothing after it reads."""
        node = self.network.nodes[index]
        with torch.no_grad():
            if any(name in self.portions[0] for name in node.inputs):
                for values in self.portions:
                    self._run_portion(node, values)
            else:
                results = compute_node(node, tuple(self.constant(n) for n in node.inputs))
                self.shared.update(zip(node.outputs, results, strict=False))
        for name in self._last_use[index] - self._kept:
            self.shared.pop(name, None)
            for values in self.portions:
                values.pop(name, None)

    def keep(self, name: str) -> None:
        """Keep a tensor, though nothing reads it any more."""
        self._kept.add(name)

    def constant(self, name: str) -> Any:
        """A tensor that depends on no sample: a weight, or computed of such; None for no name."""
        if not name:
            return None
        return self.shared[name] if name in self.shared else self._constants[name]

    def tensor(self, name: str) -> Iterator[Tensor]:
        """A tensor's values, a portion at a time."""
        for values in self.portions:
            yield values[name]

    def add(self, name: str, change: Tensor) -> None:
        """Add ``change``, which broadcasts, to a tensor's values."""
        for values in self.portions:
            values[name] = values[name] + change

    def _run_portion(self, node: Node, values: dict[str, Tensor]) -> None:
        moving = list(dict.fromkeys(name for name in node.inputs if name in values))
        kept = [name for name in node.outputs if name]

        def run(*sample: Tensor) -> tuple[Tensor, ...]:
            at = dict(zip(moving, sample, strict=True))
            arguments = tuple(at[n] if n in at else self.constant(n) for n in node.inputs)
            results = dict(zip(node.outputs, compute_node(node, arguments), strict=False))
            return tuple(results[name] for name in kept)

        results = over_samples(run, [values[name] for name in moving])
        values.update(zip(kept, results, strict=True))


def last_uses(network: TrainableNetwork) -> list[set[str]]:
    """For each node, the tensors that nothing after it reads; the network's outputs stay."""
    seen = set(network.outputs)
    uses: list[set[str]] = []
    for node in reversed(network.nodes):
        names = {*node.inputs, *node.outputs} - {""}
        uses.append(names - seen)
        seen |= names
    return uses[::-1]


def samples_that_fit(model: onnx.ModelProto, networks: int) -> int:
    """How many samples' tensors fit into memory where so many networks run side by side."""
    graph = Graph(model)
    sizes: Mapping[str, int] = {
        name: 4 * math.prod(graph.shape(name) or (1,))
        for node in graph.nodes
        for name in node.output
    }
    seen: set[str] = set()
    freed: list[int] = []
    for node in reversed(graph.nodes):
        names = {*node.input, *node.output} & sizes.keys()
        freed.append(sum(sizes[name] for name in names - seen))
        seen |= names
    live = most = 0
    for node, gone in zip(graph.nodes, reversed(freed), strict=True):
        live += sum(sizes[name] for name in node.output)
        most, live = max(most, live), live - gone
    return max(1, _MEMORY // max(1, networks * most))
