"""Trains one network of the kinds and exports it to ONNX, with the Python of zoo/environment.py.

    python -m benchmarks.kinds.train dna-conv1d train.npz model.onnx

`train.npz` holds `input_NAME` and `target_NAME` arrays with a leading row axis.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.kinds import networks

OPSET = 17
SEED = 11
BATCH = 64


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; `losses` has one name for each output, in order."""

    network: type[nn.Module]
    losses: tuple[str, ...]
    epochs: int
    rate: float = 2e-3


def dollars(output: Tensor, target: Tensor) -> Tensor:
    """Squared error of prices, in units of $4,000."""
    return F.mse_loss(output / 4000, target / 4000)


LOSSES = {
    "class": F.cross_entropy,
    "dollars": dollars,
    "probability": F.binary_cross_entropy,
    "logit": F.binary_cross_entropy_with_logits,
}

RECIPES = {
    "dna-conv1d": Recipe(networks.DnaConv1d, ("class",), 12),
    "name-attention": Recipe(networks.NameAttention, ("class",), 30, 1.5e-3),
    "diamonds-multitask": Recipe(networks.Diamonds, ("dollars", "class", "probability"), 40),
    "spam-hardsigmoid": Recipe(networks.Spam, ("probability",), 30),
    "letters-tanh": Recipe(networks.Letters, ("class",), 25, 4e-3),
    "strokes-gru": Recipe(networks.StrokesGru, ("class",), 12),
    "power-tcn": Recipe(networks.PowerTcn, ("class",), 80),
    "digits-rescaled": Recipe(networks.Digits, ("class",), 15, 3e-3),
    "name-embedding": Recipe(networks.NameEmbedding, ("class",), 40),
    "digits-denoiser": Recipe(networks.Denoiser, ("probability",), 10, 4e-3),
    "digits-segmenter": Recipe(networks.Segmenter, ("logit",), 5),
}


def train(recipe: Recipe, inputs: list[Tensor], targets: list[Tensor]) -> nn.Module:
    """Train with Adam and a rate that falls to nothing; the network, ready to export."""
    network = recipe.network()
    steps = recipe.epochs * -(-len(inputs[0]) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), recipe.rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=steps)
    for _ in range(recipe.epochs):
        for at in torch.randperm(len(inputs[0])).split(BATCH):
            results = network(*(x[at] for x in inputs))
            outputs = results if isinstance(results, tuple) else (results,)
            loss = sum(
                LOSSES[name](output, target[at])
                for name, output, target in zip(recipe.losses, outputs, targets, strict=True)
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()
    if hasattr(network, "finish"):
        network.finish()
    return network


def main() -> None:
    """Train the network that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kinds.train", description=__doc__.splitlines()[0]
    )
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("train", help=".npz with the training rows")
    parser.add_argument("output", help="ONNX file to write")
    args = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # small layers: threads would cost more than they bring
    with np.load(args.train, allow_pickle=False) as file:
        inputs = {k[6:]: torch.from_numpy(file[k]) for k in file.files if k.startswith("input_")}
        targets = {k[7:]: torch.from_numpy(file[k]) for k in file.files if k.startswith("target_")}
    network = train(RECIPES[args.name], list(inputs.values()), list(targets.values()))
    torch.onnx.export(
        network,
        tuple(x[:1] for x in inputs.values()),
        args.output,
        input_names=list(inputs),
        output_names=list(targets),
        opset_version=OPSET,
        dynamo=False,
    )


if __name__ == "__main__":
    main()
