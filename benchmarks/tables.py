"""The command line of a folder of tables: ``python -m benchmarks.formats TABLE``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from types import ModuleType


def main(program: str, description: str, tables: Mapping[str, ModuleType]) -> int:
    """Parse and print; the exit status is that of the table.

    Args:
        program: what is run.
        description: of all tables.
        tables: name of a table -> the module that prints it: ``add_arguments(parser)`` and
            ``run(args)``.
    """
    parser = argparse.ArgumentParser(prog=program, description=description)
    commands = parser.add_subparsers(dest="table", required=True)
    for name, module in tables.items():
        module.add_arguments(commands.add_parser(name, help=(module.__doc__ or "").splitlines()[0]))
    args = parser.parse_args()
    return int(tables[args.table].run(args))
