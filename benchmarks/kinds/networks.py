"""The networks of the kinds in PyTorch: small, and each of a kind that int8 may harm.

They take inputs in their own units and normalize inside, as exported networks do.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DnaConv1d(nn.Module):
    """Convolutions along one-hot letters."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(4, 32, 9, padding=4),
            nn.BatchNorm1d(32),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Dropout(0.2),
            nn.Conv1d(32, 48, 5, padding=2),
            nn.BatchNorm1d(48),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Flatten(),
            nn.Dropout(0.4),
            nn.Linear(48 * 15, 64),
            nn.ReLU(),
            nn.Linear(64, 3),
        )

    def forward(self, dna: Tensor) -> Tensor:
        """`dna` (batch, 4, 60) -> scores (batch, 3)."""
        return self.layers(dna)


class Attention(nn.Module):
    """A pre-norm transformer layer, with the softmax and the normalization spelled out."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """`x` (batch, tokens, width); `bias` (batch, 1, 1, tokens) is very negative at padding."""
        batch, tokens, width = x.shape
        split = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(2, 3) / math.sqrt(width // self.heads) + bias
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, tokens, width)
        x = x + self.mix(mixed)
        return x + self.feed(self.norm2(x))


class NameAttention(nn.Module):
    """A transformer encoder over letters, with padding masked by -10000 as BERT does."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(80, 48)
        self.positions = nn.Parameter(torch.randn(14, 48) * 0.1)
        self.layers = nn.ModuleList(Attention(48, 4) for _ in range(2))
        self.norm, self.drop, self.head = nn.LayerNorm(48), nn.Dropout(0.2), nn.Linear(48, 8)

    def forward(self, ids: Tensor) -> Tensor:
        """`ids` int64 (batch, 14) -> scores (batch, 8)."""
        real = (ids > 0).float()
        x = self.drop(self.letters(ids) + self.positions)
        for layer in self.layers:
            x = layer(x, (1 - real)[:, None, None, :] * -10000.0)
        mean = (self.norm(x) * real[:, :, None]).sum(1) / real.sum(1, keepdim=True)
        return self.head(self.drop(mean))


class NameEmbedding(nn.Module):
    """A bag of embeddings and two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs = nn.Embedding(998, 64, padding_idx=0)
        self.layers = nn.Sequential(
            nn.Dropout(0.5), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 8)
        )

    def forward(self, ids: Tensor) -> Tensor:
        """`ids` int64 (batch, 15) -> scores (batch, 8)."""
        real = (ids > 0).float()
        return self.layers((self.pairs(ids) * real[:, :, None]).sum(1) / real.sum(1, keepdim=True))


class Diamonds(nn.Module):
    """One trunk and three heads: dollars up to 18,823, logits, a probability."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(8, affine=False)
        self.trunk = nn.Sequential(
            nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()
        )
        self.price, self.cut, self.dear = nn.Linear(64, 1), nn.Linear(64, 5), nn.Linear(64, 1)

    def forward(self, diamond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`diamond` (batch, 8) -> price (batch, 1), cut (batch, 5), dear (batch, 1)."""
        x = self.trunk(self.norm(diamond))
        return self.price(x) * 4000 + 4000, self.cut(x), self.dear(x).sigmoid()


class Spam(nn.Module):
    """Counts of very unequal range straight into the first product; hard activations; one
    probability.
    """

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(57)
        self.layers = nn.Sequential(
            nn.Linear(57, 64),
            nn.Hardsigmoid(),
            nn.Linear(64, 32),
            nn.Hardswish(),
            nn.Linear(32, 1),
            nn.Sigmoid(),
        )

    def forward(self, counts: Tensor) -> Tensor:
        """`counts` (batch, 57) -> probability (batch, 1)."""
        return self.layers(self.norm(counts))

    @torch.no_grad()
    def finish(self) -> None:
        """Fold the normalization into the first product, which then reads counts as they are."""
        first, norm = self.layers[0], self.norm
        factor = norm.weight / (norm.running_var + norm.eps).sqrt()
        first.bias += first.weight @ (norm.bias - norm.running_mean * factor)
        first.weight *= factor
        self.norm = nn.Identity()


class Letters(nn.Module):
    """Tanh and sigmoid driven far into saturation by inputs that are not normalized."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(16, 128),
            nn.Tanh(),
            nn.Linear(128, 128),
            nn.Sigmoid(),
            nn.Linear(128, 64),
            nn.Tanh(),
            nn.Linear(64, 26),
        )
        with torch.no_grad():
            for layer in (self.layers[0], self.layers[2], self.layers[4]):
                layer.weight *= 4

    def forward(self, statistics: Tensor) -> Tensor:
        """`statistics` (batch, 16) -> scores (batch, 26)."""
        return self.layers(statistics)


class StrokesGru(nn.Module):
    """A gated recurrent unit, unrolled over the eight points."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.width = width
        self.inputs, self.state = nn.Linear(2, 3 * width), nn.Linear(width, 3 * width)
        self.head = nn.Linear(width, 10)

    def forward(self, points: Tensor) -> Tensor:
        """`points` (batch, 8, 2) from 0 to 100 -> scores (batch, 10)."""
        x = points / 50 - 1
        h = torch.zeros(points.shape[0], self.width)
        for step in range(8):
            from_input = self.inputs(x[:, step]).chunk(3, dim=1)
            from_state = self.state(h).chunk(3, dim=1)
            reset = (from_input[0] + from_state[0]).sigmoid()
            update = (from_input[1] + from_state[1]).sigmoid()
            new = (from_input[2] + reset * from_state[2]).tanh()
            h = update * h + (1 - update) * new
        return self.head(h)


class GatedBlock(nn.Module):
    """A causal dilated convolution with a gated linear unit, added to what came in."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.conv = nn.Conv1d(width, 2 * width, 3, dilation=dilation)
        self.mix = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`x` (batch, width, time); same shape."""
        return x + self.mix(F.glu(self.conv(F.pad(x, (2 * self.dilation, 0))), dim=1))


class PowerTcn(nn.Module):
    """A temporal convolutional network."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv1d(1, 24, 1)
        self.blocks = nn.Sequential(*(GatedBlock(24, d) for d in (1, 2, 4, 8)))
        self.drop, self.head = nn.Dropout(0.3), nn.Linear(24, 2)

    def forward(self, demand: Tensor) -> Tensor:
        """`demand` (batch, 1, 24) -> scores (batch, 2)."""
        return self.head(self.drop(self.blocks(self.enter(demand)).mean(2)))


class Separable(nn.Module):
    """A depthwise and a pointwise convolution, each with ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`x` (batch, inputs, h, w) -> (batch, outputs, h / stride, w / stride)."""
        return F.relu(self.pointwise(F.relu(self.depthwise(x))))


class Digits(nn.Module):
    """A MobileNet; `rescale` spreads its channels' ranges without changing what it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, 2, 1)
        self.blocks = nn.Sequential(
            Separable(16, 32, 1), Separable(32, 48, 2), Separable(48, 64, 1), Separable(64, 64, 2)
        )
        self.drop, self.head = nn.Dropout(0.2), nn.Linear(64, 10)

    def forward(self, image: Tensor) -> Tensor:
        """`image` (batch, 1, 28, 28) -> scores (batch, 10)."""
        x = self.blocks(F.relu(self.stem(image)))
        return self.head(self.drop(x.mean((2, 3))))

    @torch.no_grad()
    def finish(self) -> None:
        """Multiply each channel between two layers by a power of two, and divide behind it.

        ReLU lets positive factors through, and powers of two are exact: only the ranges change, by
        up to 64 times between the channels of one tensor.
        """
        layers = [self.stem]
        for block in self.blocks:
            layers += [block.depthwise, block.pointwise]
        for before, after in itertools.pairwise(layers):
            factor = torch.exp2(torch.randint(-3, 4, (before.out_channels,)).float())
            before.weight *= factor.view(-1, 1, 1, 1)
            before.bias *= factor
            if after.groups == 1:
                after.weight /= factor.view(1, -1, 1, 1)
            else:
                after.weight /= factor.view(-1, 1, 1, 1)


class Denoiser(nn.Module):
    """An autoencoder with transposed convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(32, 32, 3, 1, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 16, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 8, 3, 2, 1, output_padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 1, 3, 1, 1),
            nn.Sigmoid(),
        )

    def forward(self, noisy: Tensor) -> Tensor:
        """`noisy` (batch, 1, 28, 28) -> the clean picture, the same shape."""
        return self.layers(noisy)


class Segmenter(nn.Module):
    """A small U-net: pooling, resizing, and concatenation with what was there before pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = self.pair(3, 16)
        self.coarse = self.pair(16, 32)
        self.deep = self.pair(32, 32)
        self.up1, self.up2 = self.pair(64, 24), self.pair(40, 16)
        self.head = nn.Conv2d(16, 1, 1)

    @staticmethod
    def pair(inputs: int, outputs: int) -> nn.Sequential:
        """A convolution with batch normalization and SiLU."""
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.SiLU(),
        )

    def forward(self, picture: Tensor) -> Tensor:
        """`picture` (batch, 3, 32, 32) -> ink, logits (batch, 1, 32, 32)."""
        fine = self.fine(picture)
        coarse = self.coarse(F.max_pool2d(fine, 2))
        deep = F.interpolate(self.deep(F.max_pool2d(coarse, 2)), scale_factor=2.0)
        middle = self.up1(torch.cat([deep, coarse], 1))
        wide = F.interpolate(middle, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.head(self.up2(torch.cat([wide, fine], 1)))
