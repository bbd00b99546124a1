"""The zoo's untrained networks of images: torchvision's architectures, and others.

Their weights are random, from a fixed seed, with batch normalisation's statistics taken from
pictures: activations have the ranges and sparsity of a working network, so they are fit to measure
speed, and say nothing of accuracy. Imported by export.py in an environment with torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.zoo.export_joined import JOINED

PICTURES, BATCHES = 8, 2


def torchvision_network(source: Path, name: str) -> nn.Module:
    """An architecture of the unpacked torchvision wheel, with its own random initialisation."""
    sys.path.insert(0, str(source))
    # The wheel's compiled operators load beside one build of torch only, and are not needed: its
    # Python code asks no more than that these are defined.
    for library in (source / "torchvision").glob("*.so"):
        library.unlink()
    operators = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        operators.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from torchvision import models

    training_only = {"googlenet": {"aux_logits": False, "init_weights": True}}
    return models.get_model(name, **training_only.get(name, {}))


class Attention(nn.Module):
    """Multi-head self attention with one projection for queries, keys and values, as timm's."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """`x` (1, tokens, width) -> the same shape."""
        parts = self.qkv(x).reshape(1, -1, 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        q, k, v = parts.unbind(0)
        weights = ((q * self.size**-0.5) @ k.transpose(-2, -1)).softmax(dim=-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(1, -1, self.heads * self.size))


class EncoderLayer(nn.Module):
    """Pre-norm attention and a GELU feed-forward of four times the width, each with a residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """`x` (1, tokens, width) -> the same shape."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """timm's vit_tiny_patch16_224: 12 layers of width 192 with 3 heads, over 196 patches and a
    class token.
    """

    def __init__(self, width: int = 192, depth: int = 12, heads: int = 3) -> None:
        super().__init__()
        self.width = width
        self.patches = nn.Conv2d(3, width, kernel_size=16, stride=16)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 197, width))
        self.layers = nn.Sequential(*(EncoderLayer(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """`x` (1, 3, 224, 224) -> logits (1, 1000)."""
        x = self.patches(x).reshape(1, self.width, 196).transpose(1, 2)
        x = torch.cat([self.token, x], dim=1) + self.positions
        return self.head(self.norm(self.layers(x))[:, 0])


def disturb_vectors(network: nn.Module) -> None:
    """Move every bias and normalisation weight off the zero or one that it is initialised with, so
    that no compiler can leave it out.
    """
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))


def set_statistics(network: nn.Module) -> None:
    """Give every batch normalisation the mean and variance of its input over some pictures."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average over all batches
    network.train()
    with torch.no_grad():
        for _ in range(BATCHES if norms else 0):
            network(pictures(PICTURES))
    network.eval()


def pictures(count: int) -> Tensor:
    """Float32 (count, 3, 224, 224) of about mean 0 and deviation 1, with the spectrum of natural
    pictures: power falls with the square of the frequency.
    """
    frequency = torch.hypot(torch.fft.fftfreq(224)[:, None], torch.fft.rfftfreq(224)[None, :])
    spectrum = torch.fft.rfft2(torch.randn(count, 3, 224, 224)) / frequency.clamp(min=1 / 224)
    grey = torch.fft.irfft2(spectrum.mean(dim=1, keepdim=True) + 0.3 * spectrum, s=(224, 224))
    return grey / grey.std(dim=(1, 2, 3), keepdim=True) + 0.5 * torch.randn(count, 1, 1, 1)


def torchvision_builder(name: str) -> Callable[[Path], nn.Module]:
    """A function that makes torchvision's `name`, given the folder of the unpacked wheel."""
    return lambda source: torchvision_network(source, name)


def _without_source(make: Callable[[], nn.Module]) -> Callable[[Path], nn.Module]:
    return lambda source: make()


ARCHITECTURES: dict[str, Callable[[Path], nn.Module]] = {
    "resnet18": torchvision_builder("resnet18"),
    "resnet50": torchvision_builder("resnet50"),
    "mobilenet-v2": torchvision_builder("mobilenet_v2"),
    "mobilenet-v3-large": torchvision_builder("mobilenet_v3_large"),
    "squeezenet1.1": torchvision_builder("squeezenet1_1"),
    "vit-tiny": lambda source: VisionTransformer(),
    "densenet121": torchvision_builder("densenet121"),
    "shufflenet-v2": torchvision_builder("shufflenet_v2_x1_0"),
    "inception-v1": torchvision_builder("googlenet"),
    **{name: _without_source(make) for name, make in JOINED.items()},
}


def vision_network(name: str, source: Path) -> nn.Module:
    """An untrained network of pictures (n, 3, 224, 224), always the same."""
    torch.manual_seed(0)
    network = ARCHITECTURES[name](source)
    disturb_vectors(network)
    set_statistics(network)
    return network
