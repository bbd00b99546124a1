"""The options that the tables of this folder share."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tvmcomp.arguments import Quant

_QUANTS: dict[str, Quant | None] = {
    "float32": None,
    "fp16": "fp16",
    "bf16": "bf16",
    "int8": "int8",
}


def add_options(parser: argparse.ArgumentParser, targets: tuple[str, ...], models: str) -> None:
    """Models (``*`` or ``+`` of them), targets, precisions, and ``--json``."""
    parser.add_argument("models", nargs=models, type=Path, help="ONNX files")
    known = ", ".join(targets)
    parser.add_argument("--target", action="append", help=f"repeatable; {known} unless given")
    parser.add_argument("--quant", action="append", choices=list(_QUANTS), help="repeatable")
    parser.add_argument("--json", action="store_true", help="print JSON")


def quants_of(given: argparse.Namespace, default: tuple[Quant | None, ...]) -> list[Quant | None]:
    """The precisions asked for."""
    return [_QUANTS[each] for each in given.quant] if given.quant else list(default)


def print_json(rows: list[Any]) -> None:
    """Named tuples as a list of objects."""
    print(json.dumps([row._asdict() for row in rows], indent=1))
