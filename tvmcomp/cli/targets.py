"""``tvmcomp targets``: the targets that can be named, one of them whole, and this machine."""

from __future__ import annotations

import click
import msgspec
from rich import box
from rich.table import Column, Table

from tvmcomp import targets
from tvmcomp.cli.common import json_option, out, print_json
from tvmcomp.targets import TargetDescription
from tvmcomp.targets.catalog import DETECTED, read


@click.group(name="targets")
def command() -> None:
    """Show the targets that code can be built for.

    \b
    Example:
      tvmcomp targets list
      tvmcomp targets show rpi5 > my-board.toml    # then change it, and build with
      tvmcomp build model.onnx -o model.tvmc --target my-board.toml
    """


@command.command(name="list")
@json_option
def list_command(as_json: bool) -> None:
    """List the targets that ship, and the names that are detected.

    \b
    Example:
      tvmcomp targets list
    """
    shipped = [read(path) for path in targets.shipped().values()]
    if as_json:
        print_json({"detected": list(DETECTED), "targets": [_document(each) for each in shipped]})
        return
    columns = (Column(header, no_wrap=True) for header in ("name", "cpu", "dot product"))
    table = Table(*columns, "device", box=box.SIMPLE)
    table.add_row("native", "", "", "this machine; see `tvmcomp targets detect`")
    table.add_row("cuda", "", "", "this machine's NVIDIA GPU")
    for each in shipped:
        cpu = each.cuda_arch or each.cpu
        table.add_row(each.name, cpu, each.dot_product, each.description)
    out.print(table)


@command.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Print all that is known of the target NAME, or of a TOML file, as TOML.

    \b
    Example:
      tvmcomp targets show rpi4
    """
    _print(targets.load(name), as_json)


@command.command()
@json_option
def detect(as_json: bool) -> None:
    """Print the target of this machine's CPU, as TOML.

    \b
    Example:
      tvmcomp targets detect > this-machine.toml
    """
    _print(targets.detect(), as_json)


def _print(target: TargetDescription, as_json: bool) -> None:
    if as_json:
        print_json(_document(target))
    else:
        click.echo(_toml(target), nl=False)


def _document(target: TargetDescription) -> dict[str, object]:
    document: dict[str, object] = msgspec.to_builtins(target)
    if target.family != "cuda":
        del document["gpu"]
    return document


def _toml(target: TargetDescription) -> str:
    """Write a description as TOML that reads back equal; JSON's scalars and lists are TOML's."""
    document = _document(target)
    tables = {key: value for key, value in document.items() if isinstance(value, dict)}
    plain = {key: value for key, value in document.items() if key not in tables}
    lines = [_line(item) for item in plain.items()]
    for name, table in tables.items():
        if table:
            lines += ["", f"[{name}]", *map(_line, table.items())]
    return "\n".join(lines) + "\n"


def _line(item: tuple[str, object]) -> str:
    key, value = item
    return f"{key} = {msgspec.json.encode(value).decode()}"
