"""From a network to one whose weights take few values, one layer after the other.

Each weight is chosen for the data that reach it, errors of all layers before included; the values
by k-means with the inputs' mean squares as weights, which of them a weight takes by GPTQ, and what
is lost in the mean goes into the bias. Weights that it harms most take more values, others fewer. A
float network gets books of floats; one that is quantized to 8 bits gets books of its integers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from tvmcomp.compress.clusters.choose import Clustered, in_floats, in_integers
from tvmcomp.compress.clusters.plain_view import plain_view
from tvmcomp.compress.clusters.settings import ClusterSettings
from tvmcomp.compress.clusters.spare import spared
from tvmcomp.compress.fake_quantize import weights as roles
from tvmcomp.compress.fake_quantize.graph import Graph, attribute, copied, set_nodes
from tvmcomp.compress.fake_quantize.lockstep import samples_that_fit
from tvmcomp.compress.fake_quantize.opset import at_least
from tvmcomp.compress.fake_quantize.pair import Pair, made_up
from tvmcomp.compress.fake_quantize.patterns import matched
from tvmcomp.compress.fake_quantize.plan import plan_model
from tvmcomp.compress.fake_quantize.weights import GPTQ_ROLES, Weight
from tvmcomp.compress.operators.cluster import CLUSTER
from tvmcomp.compress.operators.table import Node
from tvmcomp.compress.samples import Parts, Sample
from tvmcomp.frontend.onnx.quantized_lstm import DOMAIN
from tvmcomp.progress import Progress

#: The operator set with integers of 4 bits.
_UINT4_OPSET = 21
_QUANTIZED_BITS = 8


def cluster_model(
    model: onnx.ModelProto, parts: Parts, settings: ClusterSettings, progress: Progress
) -> tuple[onnx.ModelProto, list[str]]:
    """``model`` with weights of few values, and what is to be known of it.

    Args:
        model: a prepared graph, in float or fake-quantized.
        parts: values are fitted on ``fit``; ``watch`` tells which weights get more of them.
        settings: how many values.
        progress: is told of each stage.

    Raises:
        ConfigError: a pattern matches nothing.
        ModelError: torch can't compute a node.
    """
    matched(settings.counts, model)
    run = _Run(at_least(model, _UINT4_OPSET), parts.fit, settings)
    free = [weight for weight in run.chosen if not settings.gives(weight.node, weight.kind)]
    step = progress.stage("measuring harm", len(free))
    run.counts |= spared(run.view, free, settings.count, parts, step)
    run.choose(progress.stage("clustering weights", len(run.chosen)))
    return run.written(), run.notes()


class _Run:
    def __init__(
        self, model: onnx.ModelProto, samples: Sequence[Sample], settings: ClusterSettings
    ) -> None:
        self.model = model
        view = plain_view(model)
        self.sources = view.sources
        self.quantizers = {node.name: node for node in model.graph.node}
        self.graph = Graph(view.model)
        self.view = view.model
        self.samples = samples[: samples_that_fit(view.model, 2)]
        self.left: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        self.weights: dict[str, list[Weight]] = {}
        for weight in plan_model(view.model).weights:
            self.counts[weight.tensor] = settings.of(weight.node, weight.kind)
            reason = self.refusal(weight)
            if reason:
                self.left[weight.node] = reason
            elif self.counts[weight.tensor]:
                self.weights.setdefault(weight.node, []).append(weight)
        self.found: dict[str, tuple[Weight, Clustered]] = {}
        self.biases: dict[str, np.ndarray] = {}

    def refusal(self, weight: Weight) -> str | None:
        source = self.sources.get(weight.tensor)
        if self.sources and source is None:
            return "it is computed in float"
        if source is not None and attribute(self.quantizers[source], "bits") != _QUANTIZED_BITS:
            return "its weights have fewer than 8 bits already"
        count, size = self.counts[weight.tensor], math.prod(weight.shape)
        stored = 1 if source is not None else 4
        if count and size * math.log2(count) / 8 + stored * count >= size * stored:
            return "indices and book take no less than its weights"
        return None

    @property
    def chosen(self) -> list[Weight]:
        """The weights that get few values."""
        return [weight for own in self.weights.values() for weight in own]

    def choose(self, step: Callable[[], None]) -> None:
        """Run the network beside itself as it was, and choose each weight on what reaches it."""
        pair = Pair(self.view, self.view, self.samples)
        for index, node in enumerate(pair.changed.network.nodes):
            own = self.weights.get(node.name, [])
            for weight in own:
                self.fit(pair, weight, node)
                step()
            pair.run(index)
            for weight in own:
                pair.correct_bias(weight, node)
                bias = pair.bias(weight, node)
                if bias is not None:
                    self.biases[self.graph.bias_of(node.proto)] = bias.detach().numpy()

    def fit(self, pair: Pair, weight: Weight, node: Node) -> None:
        """Choose the values of a weight and put them into the running network."""
        value, count = pair.parameters[weight.tensor], self.counts[weight.tensor]
        matrices = weight.matrices(value.detach().numpy().astype(np.float64))
        square = None
        known = weight.role != roles.STATE or pair.run_ahead(node)
        if weight.role in GPTQ_ROLES and known:
            moments = pair.moments(weight, node)
            square = moments.square
            # What was pruned stays 0.
            matrices = np.where(matrices == 0, 0, matrices + made_up(matrices, moments))
        if weight.tensor in self.sources:
            chosen = in_integers(
                matrices, square, count, lambda s: weight.scale_matrix(weight.shared_scale(s))
            )
        else:
            chosen = in_floats(matrices, square, count)
        self.found[weight.tensor] = weight, chosen
        whole = np.ascontiguousarray(weight.from_matrices(chosen.values), np.float32)
        with torch.no_grad():
            value.copy_(torch.from_numpy(whole))

    def written(self) -> onnx.ModelProto:
        """The network with a Cluster for each weight."""
        model = copied(self.model)
        graph = Graph(model)
        before: dict[str, list[onnx.NodeProto]] = {}
        instead: dict[str, onnx.NodeProto] = {}
        for wanted, (weight, chosen) in self.found.items():
            whole = np.ascontiguousarray(weight.from_matrices(chosen.values), np.float32)
            book = graph.add_constant(f"{wanted}_book", chosen.book.astype(np.float32))
            source = self.sources.get(wanted)
            if source is None:
                value = graph.add_constant(f"{wanted}_values", whole)
                result = graph.free_name(f"{wanted}_clustered")
                node = _node([value, "", book], result, 0)
                before.setdefault(weight.node, []).append(node)
                for reader in graph.nodes:
                    for place, name in enumerate(reader.input):
                        reader.input[place] = result if name == wanted else name
            else:
                quantizer = next(node for node in graph.nodes if node.name == source)
                stored = whole.reshape(weight.stored_shape)
                value = graph.add_constant(f"{wanted}_values", stored)
                assert chosen.scale is not None
                scales = weight.shared_scale(chosen.scale).astype(np.float32)
                scale = graph.add_constant(f"{wanted}_cluster_scale", scales)
                result = quantizer.output[0]
                instead[source] = _node([value, scale, book], result, weight.axis)
        for tensor in model.graph.initializer:
            if tensor.name in self.biases:
                tensor.CopyFrom(numpy_helper.from_array(self.biases[tensor.name], tensor.name))
        nodes = []
        for node in graph.nodes:
            nodes += [*before.get(node.name, ()), instead.get(node.name, node)]
        set_nodes(model, nodes)
        if DOMAIN not in {each.domain for each in model.opset_import}:
            model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
        return model

    def notes(self) -> list[str]:
        found = [chosen for _, chosen in self.found.values()]
        sizes = [len(chosen.book) for chosen in found]
        bytes_ = sum(
            chosen.values.size * math.log2(max(len(chosen.book), 2)) / 8 for chosen in found
        )
        told = [f"{len(found)} weights of {min(sizes)} to {max(sizes)} values"] if found else []
        if found:
            told[0] += f", whose indices take {bytes_:,.0f} bytes"
        reasons: dict[str, list[str]] = {}
        for node, reason in self.left.items():
            reasons.setdefault(reason, []).append(node)
        for reason, nodes in reasons.items():
            more = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
            told.append(f"as they are: {nodes[0]}{more}: {reason}")
        return told


def _node(inputs: list[str], result: str, axis: int) -> onnx.NodeProto:
    return helper.make_node(
        CLUSTER, inputs, [result], f"{result}_cluster", domain=DOMAIN, axis=axis
    )
