"""``python -m benchmarks.compress TABLE``: print the tables of compression."""

from __future__ import annotations

import sys

from benchmarks.compress import (
    channels,
    clusters,
    distil_defaults,
    low_bits,
    low_rank,
    peers,
    qat,
    ranks,
    sparse,
    sparse_kernels,
    together,
    trainable,
)
from benchmarks.tables import main

TABLES = {
    "channels": channels,
    "trainable": trainable,
    "low_bits": low_bits,
    "clusters": clusters,
    "low_rank": low_rank,
    "ranks": ranks,
    "sparse": sparse,
    "sparse_kernels": sparse_kernels,
    "qat": qat,
    "distil_defaults": distil_defaults,
    "peers": peers,
    "together": together,
}


if __name__ == "__main__":
    sys.exit(main("python -m benchmarks.compress", __doc__, TABLES))
