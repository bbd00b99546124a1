"""``python -m benchmarks.compress TABLE``: print the tables of compression."""

from __future__ import annotations

import sys

from benchmarks.compress import low_bits, peers, qat, trainable
from benchmarks.tables import main

TABLES = {"trainable": trainable, "low_bits": low_bits, "qat": qat, "peers": peers}


if __name__ == "__main__":
    sys.exit(main("python -m benchmarks.compress", __doc__, TABLES))
