"""What generated networks of one integer operator share, and how they are compared with LiteRT."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from litert import Arrays, converted, litert
from tflite_models import Graph, model

Case = tuple[Graph, Arrays]


def scaled(rng: np.random.Generator, least: float, most: float) -> float:
    """A scale from `least` to `most`, their logarithms alike."""
    return float(np.float32(np.exp(rng.uniform(np.log(least), np.log(most)))))


def zero_of(rng: np.random.Generator, dtype: str) -> int:
    """A zero point; 16-bit numbers have none."""
    limits = np.iinfo(dtype)
    if dtype == "int16":
        return 0
    return int(rng.integers(limits.min, limits.max + 1))


def check_same_integers(
    case: Callable[[np.random.Generator], Case], count: int, folder: Path
) -> None:
    """Compare `count` networks: no integer is more than a step off, and next to none is one."""
    equal = []
    for seed in range(count):
        graph, feeds = case(np.random.default_rng(seed))
        path = folder / f"{seed}.tflite"
        path.write_bytes(model(graph))
        (ours,), (theirs,) = converted(path, feeds), litert(path, feeds)
        assert ours.dtype == theirs.dtype
        assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1
        equal.append((ours == theirs).mean())
    assert np.mean(equal) > 0.9995
