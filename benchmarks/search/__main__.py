"""``python -m benchmarks.search TABLE``: print the tables of the search."""

from __future__ import annotations

import sys

from benchmarks.search import fronts, optimizers
from benchmarks.tables import main

TABLES = {"fronts": fronts, "optimizers": optimizers}

if __name__ == "__main__":
    sys.exit(main("python -m benchmarks.search", __doc__, TABLES))
