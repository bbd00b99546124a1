"""What is lost by a channel: the change of the outputs, by Fisher information of samples.

A channel's mask is a parameter that is 1. To second order, the divergence of the outputs from what
they were is half its Fisher information times the square of its change (Theis et al., "Faster gaze
prediction with dense networks and Fisher pruning", arXiv:1801.05787; Liu et al., "Group Fisher
pruning", arXiv:2108.00708). The information is the mean square of the gradient of log-probabilities
of answers drawn from the network's own odds: with the network as its own teacher the loss itself
has no gradient. Of outputs that are no odds the answers are drawn around the values.

What reads a channel is to read its mean in its place (its bias makes up for that), so the mask is
of the deviation from the mean. A channel that several operators read has one mask for all of them,
as it goes from all. Draws are independent, so those of a batch are added before they are squared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.channels.groups import Groups
from tvmcomp.compress.channels.mask import masked, read_tensors
from tvmcomp.compress.ends import End, classes_last
from tvmcomp.compress.fake_quantize.samples_at_once import run_samples, samples_together, stacked
from tvmcomp.compress.losses import Objective, candidates
from tvmcomp.compress.operators.table import Tensor
from tvmcomp.compress.samples import Sample

#: Samples of a batch, whose gradients are added; and draws, of which the mean square is as good as
#: a tenth at 200.
_BATCH, DRAWS = 8, 200
#: Samples that means are taken of.
_MOST_FOR_MEANS = 256


def importance(
    groups: Groups,
    samples: Sequence[Sample],
    seed: int,
    step: Callable[[], None] = lambda: None,
) -> dict[int, float]:
    """For each class of channels, how far the outputs diverge without it: nats a sample of scores,
    half the squared error over the variance of values.

    Args:
        groups: of the network.
        samples: that it is judged on.
        seed: of what is drawn.
        step: is called after each batch.

    Raises:
        ModelError: torch can't compute the network, or there is nothing to compare.
        CalibrationError: its outputs are not finite.
    """
    network = masked(groups, (), channel_means(groups, samples[:_MOST_FOR_MEANS]))
    batched = BatchedNetwork(network.model, samples)
    parameters = batched.network.weights()
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in network.masks)
    masks = {name: parameters[name] for name in network.masks}
    ends = _ends(groups.model, batched, samples)
    generator = torch.Generator().manual_seed(seed)
    random = np.random.default_rng(seed)
    wanted = tuple(tensor for _, tensor, _ in ends)
    roots = {n: groups.flow.classes.roots(read.classes) for n, read in network.masks.items()}
    total: dict[int, float] = dict.fromkeys((c for g in groups.groups for c in g.classes), 0.0)
    size = min(_BATCH, len(samples), samples_together(network.model, wanted))
    seen = 0
    order: list[int] = []
    for _ in range(DRAWS):
        if len(order) < size:
            order = list(random.permutation(len(samples)))
        batch = [samples[order.pop()] for _ in range(size)]
        inputs = stacked(batched.network.inputs, batch)
        values = batched.run(dict(zip(batched.network.inputs, inputs, strict=True)), wanted)
        loss = sum(
            (_surprise(end, values[name], variance, generator) for end, name, variance in ends),
            torch.zeros(()),
        )
        for parameter in masks.values():
            parameter.grad = None
        loss.backward()
        gradients: dict[int, float] = {}
        for name, parameter in masks.items():
            if parameter.grad is None:
                continue
            flat = parameter.grad.reshape(-1).tolist()
            for root, gradient in zip(roots[name].tolist(), flat, strict=True):
                gradients[root] = gradients.get(root, 0.0) + gradient
        for root, gradient in gradients.items():
            if root in total:
                total[root] += gradient**2
        seen += len(batch)
        step()
    return {root: value / (2 * seen) for root, value in total.items()}


def channel_means(groups: Groups, samples: Sequence[Sample]) -> dict[str, NDArray[np.float32]]:
    """The mean of each channel that is summed over, by the names of :func:`read_tensors`."""
    tensors = read_tensors(groups)
    wanted = tuple(dict.fromkeys(tensor for tensor, _ in tensors.values()))
    network = BatchedNetwork(groups.model, samples)
    sums: dict[str, Tensor] = {}
    for values in run_samples(network, samples, wanted):
        for name, (tensor, axis) in tensors.items():
            data = values[tensor]
            others = [i for i in range(1, data.ndim) if i != axis + 1]
            means = (data.mean(others) if others else data).double().sum(0)
            sums[name] = sums[name] + means if name in sums else means
    return {name: (total / len(samples)).float().numpy() for name, total in sums.items()}


def _ends(
    model: onnx.ModelProto, network: BatchedNetwork, samples: Sequence[Sample]
) -> list[tuple[End, str, float]]:
    """Each output that tells something, the tensor it is compared by, and its variance."""
    seen = samples[: 4 * _BATCH]
    own = BatchedNetwork(model, seen)
    names = tuple(name for name in candidates(model))
    parts = list(run_samples(own, seen, names))
    values: Mapping[str, Tensor] = {n: torch.cat([part[n] for part in parts]) for n in names}
    objective = Objective(model, model, (values, values))
    return [(end, pair.student, pair.variance) for end, pair in objective.ends]


def _surprise(end: End, values: Tensor, variance: float, generator: torch.Generator) -> Tensor:
    """Minus the log-probability of an answer drawn from what the network gives."""
    if end.kind == "scores":
        rows = classes_last(end, values).flatten(0, 1)
        drawn = torch.multinomial(rows.detach().softmax(-1), 1, generator=generator)[:, 0]
        return F.cross_entropy(rows, drawn, reduction="sum")
    if end.kind == "odds":
        answers = torch.bernoulli(values.detach().sigmoid(), generator=generator)
        return F.binary_cross_entropy_with_logits(values, answers, reduction="sum")
    noise = torch.randn(values.shape, generator=generator)
    return (values * noise).sum() / (variance * values[0].numel()) ** 0.5
