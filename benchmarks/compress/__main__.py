"""``python -m benchmarks.compress TABLE``: print the tables of compression."""

from __future__ import annotations

import argparse
import sys

from benchmarks.compress import trainable

#: Name of a table -> the module that prints it: ``add_arguments(parser)`` and ``run(args)``.
TABLES = {"trainable": trainable}


def main() -> int:
    """Parse and print; the exit status is that of the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compress", description=__doc__)
    commands = parser.add_subparsers(dest="table", required=True)
    for name, module in TABLES.items():
        module.add_arguments(commands.add_parser(name, help=(module.__doc__ or "").splitlines()[0]))
    args = parser.parse_args()
    return int(TABLES[args.table].run(args))


if __name__ == "__main__":
    sys.exit(main())
