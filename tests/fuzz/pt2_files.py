"""Exported programs of PyTorch: documents, members and headers of the archive are others."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from random import Random

import evil
import odd
import torch
import zips
from torch import nn

from tvmcomp.frontend.torch import pt2


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.gru = nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.GRU(4, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = torch.relu(self.norm(self.conv(x))).permute(2, 0, 1)
        return self.head(self.gru(features)[0][-1]).softmax(-1)


@cache
def _seed() -> bytes:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.pt2"
        torch.export.save(torch.export.export(_Network().eval(), (torch.zeros(2, 3, 8),)), path)
        return path.read_bytes()


def warm_up() -> None:
    """Load what every input needs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.pt2"
        path.write_bytes(_seed())
        pt2.convert(path, Path(folder))


def make(rng: Random, folder: Path) -> Path:
    """Write one input."""
    data, path = _seed(), folder / "net.pt2"
    members, kind = zips.unpacked(data), rng.randrange(8)
    if kind == 0:
        data = zips.packed(zips.shuffled(members, rng), zips.method(rng))
    elif kind == 1:
        data = zips.lying(data, rng)
    elif kind == 2:
        data = odd.damaged(data, rng)
    elif kind == 3:  # a pickle where there were bytes
        at = rng.randrange(len(members))
        members[at] = (members[at][0], evil.pickled(folder))
        data = zips.packed(members)
    elif kind == 4 and rng.random() < 0.3:  # a bomb
        members.append(("net/data/weights/more", bytes(1 << 27)))
        data = zips.packed(members, zips.zipfile.ZIP_DEFLATED)
    else:
        places = [i for i, (name, _) in enumerate(members) if name.endswith(".json")]
        at = rng.choice(places)
        name, content = members[at]
        members[at] = (name, odd.json_text(odd.edited(json.loads(content), rng)))
        data = zips.packed(members)
    path.write_bytes(data)
    return path


def read(path: Path) -> None:
    """Turn it into ONNX."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            pt2.convert(path, Path(folder))
    finally:
        evil.check(path.parent)
