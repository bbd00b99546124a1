"""Networks that join and split what they compute: a U-Net, a detector of CSP blocks, and a residual
network whose normalizations come before its convolutions.

As :mod:`benchmarks.zoo.export_vision`'s, untrained: fit to measure speed, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution, its normalization and SiLU."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.SiLU())


class UNet(nn.Module):
    """Ronneberger et al., 2015, with padding and normalization: four levels from 24 channels on."""

    def __init__(self, width: int = 24, levels: int = 4, classes: int = 2) -> None:
        super().__init__()
        widths = [width << level for level in range(levels + 1)]
        self.down = nn.ModuleList(
            map(self._pair, [3, *widths[:-1]], widths)  # each level, then the bottom
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * width, width, 2, 2) for width in reversed(widths[:-1])
        )
        self.joined = nn.ModuleList(self._pair(2 * w, w) for w in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, classes, 1)

    @staticmethod
    def _pair(inputs: int, outputs: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for source in (inputs, outputs):
            layers += [nn.Conv2d(source, outputs, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """`x` (n, 3, h, w), sides multiples of 16 -> (n, classes, h, w)."""
        kept = []
        for level in self.down[:-1]:
            kept.append(level(x))
            x = nn.functional.max_pool2d(kept[-1], 2)
        x = self.down[-1](x)
        for up, joined in zip(self.up, self.joined, strict=True):
            x = joined(torch.cat([kept.pop(), up(x)], dim=1))
        return self.head(x)


class Csp(nn.Module):
    """A cross-stage partial block (Wang et al., 2020): half of the channels pass bottlenecks."""

    def __init__(self, inputs: int, outputs: int, depth: int, shortcut: bool = True) -> None:
        super().__init__()
        half = outputs // 2
        self.one, self.other = conv(inputs, half, 1), conv(inputs, half, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(conv(half, half, 1), conv(half, half, 3)) for _ in range(depth)
        )
        self.shortcut = shortcut
        self.joined = conv(2 * half, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`x` (n, inputs, h, w) -> (n, outputs, h, w)."""
        y = self.one(x)
        for block in self.blocks:
            y = y + block(y) if self.shortcut else block(y)
        return self.joined(torch.cat([y, self.other(x)], dim=1))


class CspDetector(nn.Module):
    """A detector as YOLOv5's smallest: CSP blocks, pools side by side, two ways through three
    scales by upsampling and concatenation, and boxes of all of them in one tensor."""

    def __init__(self, width: int = 16, anchors: int = 3, numbers: int = 85) -> None:
        super().__init__()
        w = [width << i for i in range(5)]
        self.stem = nn.Sequential(conv(3, w[0], 6, 2), conv(w[0], w[1], 3, 2), Csp(w[1], w[1], 1))
        self.eighth = nn.Sequential(conv(w[1], w[2], 3, 2), Csp(w[2], w[2], 2))
        self.sixteenth = nn.Sequential(conv(w[2], w[3], 3, 2), Csp(w[3], w[3], 3))
        self.last = nn.Sequential(conv(w[3], w[4], 3, 2), Csp(w[4], w[4], 1))
        self.narrow, self.pooled = conv(w[4], w[3], 1), conv(4 * w[3], w[4], 1)
        self.up = nn.ModuleList([conv(w[4], w[3], 1), conv(w[3], w[2], 1)])
        self.up_joined = nn.ModuleList(
            [Csp(2 * w[3], w[3], 1, False), Csp(2 * w[2], w[2], 1, False)]
        )
        self.down = nn.ModuleList([conv(w[2], w[2], 3, 2), conv(w[3], w[3], 3, 2)])
        self.down_joined = nn.ModuleList(
            [Csp(2 * w[2], w[3], 1, False), Csp(2 * w[3], w[4], 1, False)]
        )
        self.heads = nn.ModuleList(nn.Conv2d(c, anchors * numbers, 1) for c in w[2:])
        self.anchors, self.numbers = anchors, numbers

    def forward(self, x: Tensor) -> Tensor:
        """`x` (n, 3, h, w), sides multiples of 32 -> (n, boxes, numbers)."""
        eighth = self.eighth(self.stem(x))
        sixteenth = self.sixteenth(eighth)
        pools = [self.narrow(self.last(sixteenth))]
        for _ in range(3):
            pools.append(nn.functional.max_pool2d(pools[-1], 5, 1, 2))
        first = self.up[0](self.pooled(torch.cat(pools, dim=1)))
        second = self.up[1](self.up_joined[0](torch.cat([_twice(first), sixteenth], dim=1)))
        large = self.up_joined[1](torch.cat([_twice(second), eighth], dim=1))
        middle = self.down_joined[0](torch.cat([self.down[0](large), second], dim=1))
        small = self.down_joined[1](torch.cat([self.down[1](middle), first], dim=1))
        found = zip(self.heads, (large, middle, small), strict=True)
        return torch.cat([self._boxes(head(y)) for head, y in found], dim=1)

    def _boxes(self, y: Tensor) -> Tensor:
        count, _, height, width = y.shape
        apart = y.reshape(count, self.anchors, self.numbers, height * width)
        return apart.permute(0, 1, 3, 2).reshape(count, -1, self.numbers).sigmoid()


def _twice(x: Tensor) -> Tensor:
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


class PreactivationBlock(nn.Module):
    """He et al., 2016 (identity mappings): normalization and ReLU before each convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        same = stride == 1 and inputs == outputs
        self.short = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`x` (n, inputs, h, w) -> (n, outputs, h / stride, w / stride)."""
        y = self.norm1(x).relu()
        short = x if self.short is None else self.short(y)
        return short + self.conv2(self.norm2(self.conv1(y)).relu())


def preactivation_resnet18() -> nn.Module:
    """`x` (n, 3, 224, 224) -> logits (n, 1000)."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [
            PreactivationBlock(inputs, width, stride),
            PreactivationBlock(width, width, 1),
        ]
        inputs = width
    ends = [nn.BatchNorm2d(inputs), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, *ends, nn.Linear(inputs, 1000))


#: Name -> makes the network.
JOINED: dict[str, Callable[[], nn.Module]] = {
    "unet": UNet,
    "csp-detector": CspDetector,
    "preact-resnet18": preactivation_resnet18,
}
