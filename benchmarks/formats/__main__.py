"""``python -m benchmarks.formats TABLE``: print the tables of formats and recurrent networks."""

from __future__ import annotations

import sys

from benchmarks.formats import keras_models, recurrent, tflite, torch_models, trained
from benchmarks.tables import main

TABLES = {
    "keras": keras_models,
    "recurrent": recurrent,
    "tflite": tflite,
    "torch": torch_models,
    "trained": trained,
}


if __name__ == "__main__":
    sys.exit(main("python -m benchmarks.formats", __doc__, TABLES))
