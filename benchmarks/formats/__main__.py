"""``python -m benchmarks.formats TABLE``: print the tables of formats and recurrent networks."""

from __future__ import annotations

import argparse
import sys

from benchmarks.formats import keras_models, recurrent, tflite, torch_models, trained

#: Name of a table -> the module that prints it: ``add_arguments(parser)`` and ``run(args)``.
TABLES = {
    "keras": keras_models,
    "recurrent": recurrent,
    "tflite": tflite,
    "torch": torch_models,
    "trained": trained,
}


def main() -> int:
    """Parse and print; the exit status is that of the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.formats", description=__doc__)
    commands = parser.add_subparsers(dest="table", required=True)
    for name, module in TABLES.items():
        module.add_arguments(commands.add_parser(name, help=(module.__doc__ or "").splitlines()[0]))
    args = parser.parse_args()
    return int(TABLES[args.table].run(args))


if __name__ == "__main__":
    sys.exit(main())
