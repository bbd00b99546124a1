"""``tvmcomp export``: an artifact as a folder for programs in C."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tvmcomp.cli.common import json_option, out, print_json

if TYPE_CHECKING:
    from tvmcomp.export.network import Network


@click.command("export")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "folder", type=click.Path(path_type=Path), required=True,
    help="A new or an empty folder.",
)  # fmt: skip
@click.option(
    "--form",
    type=click.Choice(["static", "shared", "program", "source"]),
    default="static",
    show_default=True,
    help="Archives, one shared library, one static program, or sources.",
)
@click.option("--name", help="What its functions begin with.  [default: of the model's file name]")
@click.option(
    "--linker",
    metavar="COMMAND",
    help="A C compiler for the target, in place of the built-in one: 'aarch64-linux-gnu-gcc'.",
)
@json_option
def command(
    artifact: Path, folder: Path, form: Any, name: str | None, linker: str | None, as_json: bool
) -> None:
    """Write ARTIFACT as C: what programs without Python and TVM run.

    A library has a header, a CMake package, an example, and the reference inputs and outputs as
    a self-test. A program checks, times and runs the network, and needs nothing on the device.
    Sources are compiled with any compiler of C11. README.txt in the folder says how.

    \b
    Examples:
      tvmcomp export net.tvmc -o net-c
      tvmcomp export net.tvmc -o net-arm --form program && scp net-arm/net pi@board:
    """
    from tvmcomp.export.export import export

    network = export(artifact, folder, form, name=name, linker=linker)
    report = _report(network, folder, form)
    if as_json:
        print_json({"artifact": str(artifact), **report})
        return
    for path, size in report["files"].items():
        out.print(f"{size:>10}  {path}", soft_wrap=True, markup=False)
    out.print(
        f"{folder}: {network.name} as {form}, for {network.target.name}; weights "
        f"{report['constants_bytes']} bytes, workspace {report['workspace_bytes']}",
        soft_wrap=True,
        markup=False,
    )


def _report(network: Network, folder: Path, form: str) -> dict[str, Any]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "folder": str(folder),
        "form": form,
        "name": network.name,
        "target": network.target.name,
        "constants_bytes": network.constants_nbytes,
        "constants_bytes_in_file": network.constants_nbytes_in_file,
        "workspace_bytes": network.workspace,
        "files": {str(path.relative_to(folder)): path.stat().st_size for path in files},
    }
