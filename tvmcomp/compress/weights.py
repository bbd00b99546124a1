"""The weights that a training changes, how fast each learns, and what is kept of them.

Adam (Kingma and Ba, 2015) moves every element by about the rate, whatever its gradient. So a
tensor's rate is a share of its own size (Shazeer and Stern, "Adafactor", 2018): weights that were
scaled up in one layer and down in the next, as equalization does, learn as they did before.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from tvmcomp.compress.network import TrainableNetwork
from tvmcomp.compress.operators.table import Tensor
from tvmcomp.compress.sparsify.held import held_zeros

#: Larger numbers are no weights: masks of attention hold -10,000 and less.
_LARGEST_WEIGHT = 5000.0
#: Of a tensor's root mean square: what a small one's is taken for.
_LEAST_SIZE = 0.01
#: The gradient of all weights together is cut off at this length.
_LONGEST_GRADIENT = 1.0
#: How much faster a network learns that has to make up for pruned weights: on the example with 80%
#: of its blocks pruned it left less loss on watched samples than 1 did (0.34, 0.51).
_PRUNED_RATE = 4.0
_FAKE_QUANTIZE = "tvmcomp.FakeQuantize"
#: Steps of 1 / 255 of a range that a zero point moves, for each share that a scale does.
_ZERO_POINT_RATE = 10.0


def weights_to_train(network: TrainableNetwork) -> dict[str, torch.nn.Parameter]:
    """The parameters of ``network`` to train: weights, biases, and scales of FakeQuantize.

    Numbers that stand alone belong to formulas (the 2 of a square, the root of a head's size), as
    do scales of QuantizeLinear, which come in pairs; they stay as they are.
    """
    learned = {name for names in _quantizers(network) for name in names}
    fixed = {
        node.inputs[1]
        for node in network.nodes
        if node.operator in ("DequantizeLinear", "QuantizeLinear")
    }
    chosen = {}
    for name, weight in network.weights().items():
        values = weight.detach()
        is_weight = (
            weight.dtype == torch.float32
            and weight.numel() > 1
            and bool(torch.isfinite(values).all())
            and float(values.abs().max()) < _LARGEST_WEIGHT
            and name not in fixed
        )
        weight.requires_grad_(is_weight or name in learned)
        if weight.requires_grad:
            chosen[name] = weight
    return chosen


def _quantizers(network: TrainableNetwork) -> list[tuple[str, ...]]:
    """Scale, and zero point, of each FakeQuantize."""
    return [node.inputs[1:] for node in network.nodes if node.operator == _FAKE_QUANTIZE]


class Training:
    """Weights, what Adam knows of them, and the best so far."""

    def __init__(self, network: TrainableNetwork, rate: float, scale_rate: float) -> None:
        """Args:
        network: whose weights are trained.
        rate: share of its size that a weight moves at a step.
        scale_rate: the same of a scale.
        """
        self.weights = weights_to_train(network)
        scales = {names[0] for names in _quantizers(network) if names}
        zeros = {names[1] for names in _quantizers(network) if len(names) > 1}
        groups = []
        pruned = held_zeros(network.model)
        for name, weight in self.weights.items():
            own = rate * _size(weight) * (_PRUNED_RATE if pruned else 1.0)
            if name in scales:
                own = scale_rate * float(weight.detach().abs().mean())
            elif name in zeros:
                own = scale_rate * _ZERO_POINT_RATE
            groups.append({"params": [weight], "lr": own, "own_rate": own})
        self.optimizer = torch.optim.Adam(groups)
        for weight in self.weights.values():
            self.optimizer.state[weight] = {
                "step": torch.tensor(0.0),
                "exp_avg": torch.zeros_like(weight),
                "exp_avg_sq": torch.zeros_like(weight),
            }
        self.best = self.copy()

    def copy(self) -> dict[str, Tensor]:
        """The weights as they are now."""
        return {name: weight.detach().clone() for name, weight in self.weights.items()}

    def step(self, loss: Tensor, factor: float) -> bool:
        """A step at ``factor`` of the rates; False, and none, where a gradient is not finite."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        length = torch.nn.utils.clip_grad_norm_(self.weights.values(), _LONGEST_GRADIENT)
        if not torch.isfinite(length):
            return False
        for group in self.optimizer.param_groups:
            group["lr"] = group["own_rate"] * factor
        self.optimizer.step()
        return True

    def put(self, values: Mapping[str, Tensor]) -> None:
        """Set the weights."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(values[name])

    def back_to_best(self) -> None:
        """Begin again at the best weights, as if no step had been taken."""
        self.put(self.best)
        for state in self.optimizer.state.values():
            for value in state.values():
                value.zero_()

    def tensors(self) -> dict[str, Tensor]:
        """All of it, by names, as they are now and for :meth:`restore`."""
        found: dict[str, Tensor] = {}
        for name, weight in self.weights.items():
            found[f"weight {name}"] = weight.detach()
            found[f"best {name}"] = self.best[name]
            for key, value in self.optimizer.state[weight].items():
                found[f"{key} {name}"] = value
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what :meth:`tensors` gave."""
        with torch.no_grad():
            for name, mine in self.tensors().items():
                mine.copy_(tensors[name])


def _size(weight: Tensor) -> float:
    return max(float(weight.detach().square().mean().sqrt()), _LEAST_SIZE)
