"""``python -m benchmarks.search TABLE``: print the tables of the search."""

from __future__ import annotations

import sys

from benchmarks.search import again, elsewhere, fronts, optimizers, predictions
from benchmarks.tables import main

TABLES = {
    "again": again,
    "elsewhere": elsewhere,
    "fronts": fronts,
    "optimizers": optimizers,
    "predictions": predictions,
}

if __name__ == "__main__":
    sys.exit(main("python -m benchmarks.search", __doc__, TABLES))
