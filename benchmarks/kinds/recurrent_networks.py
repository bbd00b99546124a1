"""Recurrent networks in PyTorch: a classifier, a tagger, and one that reads text in pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Of `data.LETTERS`, and what is no letter and what is none of them.
_LETTERS = 64
_COUNTRIES = 8


class NameBiGru(nn.Module):
    """Two layers of gated recurrent units in both directions; their last states are classified."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.letters = nn.Embedding(_LETTERS, 32)
        self.cells = nn.GRU(
            32, width, num_layers=2, bidirectional=True, batch_first=True, dropout=0.3
        )
        self.head = nn.Linear(2 * width, _COUNTRIES)

    def forward(self, ids: Tensor) -> Tensor:
        """`ids` (batch, 14) -> scores (batch, 8)."""
        _, last = self.cells(self.letters(ids))
        return self.head(torch.cat([last[-2], last[-1]], dim=1))


class NamesBiLstm(nn.Module):
    """Long short-term memory in both directions: a class for each letter."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.letters = nn.Embedding(_LETTERS, 32)
        self.cells = nn.LSTM(32, width, bidirectional=True, batch_first=True)
        self.head = nn.Linear(2 * width, _COUNTRIES)

    def forward(self, ids: Tensor) -> Tensor:
        """`ids` (batch, 32) -> scores (batch, 8, 32)."""
        states, _ = self.cells(self.letters(ids))
        return self.head(states).transpose(1, 2)


class DigitsCrnn(nn.Module):
    """Convolutions, then long short-term memory along the columns, as in text recognition."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.cells = nn.LSTM(32 * 7, width, bidirectional=True, batch_first=True)
        self.head = nn.Linear(2 * width, 11)

    def forward(self, strip: Tensor) -> Tensor:
        """`strip` (batch, 1, 28, 112) -> scores (batch, 11, 28)."""
        x = F.max_pool2d(self.first(strip).relu(), 2)
        x = F.max_pool2d(self.second(x).relu(), 2)
        columns = x.permute(0, 3, 1, 2).flatten(2)
        states, _ = self.cells(columns)
        return self.head(states).transpose(1, 2)
