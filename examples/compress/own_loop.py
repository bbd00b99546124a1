"""A network in 3-bit weights, trained in a loop of one's own: PyTorch, with labels.

`tvmcomp.compress.prepare` rounds the network and gives a torch module of it, in which rounding is
still a parameter like any other. The loop is yours: your data, your loss, your optimizer if you
want another. `finish` writes the ONNX file that any tool opens and `tvmcomp build` compiles.

    python examples/compress/own_loop.py --epochs 3 -o mnist-3bit.onnx
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import tvmcomp

MNIST = Path(__file__).parents[1] / "mnist"

# %% What is asked for
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--samples", type=int, default=1000, help="to train on")
parser.add_argument("-o", "--output", default="mnist-3bit.onnx")
arguments = parser.parse_args()
torch.manual_seed(0)

# %% Labelled images: some to train on, and others to judge by
with np.load(MNIST / "test.npz") as data:
    images, labels = torch.from_numpy(data["x"]), torch.from_numpy(data["label"])
order = torch.randperm(len(images))
train, test = order[: arguments.samples], order[1000:]

# %% The network with 3-bit weights, fitted on unlabelled images
prepared = tvmcomp.compress.prepare(MNIST / "model.onnx", bits=3, data=MNIST / "calib.npz")
for note in prepared.notes:
    print(note)


def accuracy(module: torch.nn.Module) -> float:
    """Percent of the test images that ``module`` gets right."""
    with torch.no_grad():
        hits = [module(images[part]).argmax(1) == labels[part] for part in test.split(100)]
    return 100 * torch.cat(hits).float().mean().item()


print(f"original {accuracy(prepared.teacher):.2f}%, rounded {accuracy(prepared.module):.2f}%")

# %% One's own loop: labels, and what the original network says
batches = arguments.samples // 50
optimizer = prepared.optimizer(rate=0.002)
schedule = prepared.schedule(optimizer, arguments.epochs * batches)
for epoch in range(arguments.epochs):
    for part in train[torch.randperm(len(train))].split(50):
        scores = prepared.module(images[part])
        with torch.no_grad():
            taught = prepared.teacher(images[part])
        loss = F.cross_entropy(scores, labels[part])
        loss = loss + F.kl_div(
            scores.log_softmax(1), taught.log_softmax(1), reduction="batchmean", log_target=True
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    print(f"epoch {epoch + 1}: loss {loss.item():.4f}, {accuracy(prepared.module):.2f}%")

# %% Back to ONNX
prepared.finish(arguments.output)
print(f"wrote {arguments.output}, {Path(arguments.output).stat().st_size / 1024:.0f} KiB")
