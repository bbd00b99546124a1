"""``tvmcomp run``: run an artifact on given inputs, or on its reference ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from tvmcomp.cli.common import json_option, out, print_json
from tvmcomp.cli.machine_options import Place, machine_for, machine_options
from tvmcomp.fitted import Column, fitted_table

if TYPE_CHECKING:
    import numpy as np

    from tvmcomp.artifact.metadata import Metadata
    from tvmcomp.runtime.threads import Pin


@click.command("run")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option(
    "--input",
    "input_path",
    type=click.Path(path_type=Path),
    help="in.npz with an array for each input, or x.npy for a network with one input.",
)
@click.option(
    "-o", "--output", "output_path", type=click.Path(path_type=Path), help="Write outputs (.npz)."
)
@machine_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    artifact: Path,
    input_path: Path | None,
    output_path: Path | None,
    place: Place,
    threads: int | None,
    pin: Pin,
    as_json: bool,
) -> None:
    """Run ARTIFACT once and show, or write, its outputs.

    Without --input it runs on the reference inputs that the artifact holds, compares with the
    reference outputs, and exits with status 1 where they differ.

    \b
    Examples:
      tvmcomp run net.tvmc --input x.npy -o out.npz
      tvmcomp run net.tvmc --device ssh://pi@192.168.1.20
    """
    from tvmcomp.artifact.artifact import Artifact
    from tvmcomp.artifact.reference import compare
    from tvmcomp.errors import InputError
    from tvmcomp.runtime.arrays import write_npz
    from tvmcomp.runtime.session import load_on

    loaded = Artifact.load(artifact)
    reference = loaded.reference if input_path is None else None
    if input_path is not None:
        inputs = _read_inputs(input_path, loaded.metadata)
    elif reference is not None:
        inputs = dict(reference.inputs)
    else:
        raise InputError(
            "the artifact holds no reference inputs to run on",
            where=str(artifact),
            hint="Give --input x.npy or --input in.npz.",
        )
    with machine_for(place) as machine, load_on(machine, loaded, threads, pin) as session:
        outputs = session.run(inputs)
        machine_name, used_threads = machine.name, session.threads
    if output_path is not None:
        write_npz(output_path, outputs)
    agreements = [] if reference is None else compare(outputs, reference, loaded.metadata.quant)
    agrees = all(agreement.agrees for agreement in agreements)
    rows = {name: _summary(array) for name, array in outputs.items()}
    if as_json:
        print_json(
            {
                "machine": machine_name,
                "threads": used_threads,
                "inputs": "golden" if reference else str(input_path),
                "outputs": rows,
                "written": None if output_path is None else str(output_path),
                "golden": [
                    {field: getattr(a, field) for field in a.__struct_fields__} for a in agreements
                ],
                "agrees": agrees if reference else None,
            }
        )
    else:
        source = "its reference inputs" if reference else str(input_path)
        out.print(f"ran on {machine_name}, {used_threads} threads, with {source}", soft_wrap=True)
        out.print(_table(rows))
        for agreement in agreements:
            verdict = "[green]agrees[/green]" if agreement.agrees else "[red]DIFFERS[/red]"
            out.print(
                f"{agreement.output}: {verdict} with the reference output: largest difference "
                f"{agreement.max_difference:.2g} of its range, "
                f"{agreement.within:.2%} of elements within {agreement.tolerance:g}",
                soft_wrap=True,
            )
        if output_path is not None:
            out.print(f"wrote {output_path}", soft_wrap=True)
    ctx.exit(0 if agrees else 1)


def _read_inputs(path: Path, metadata: Metadata) -> dict[str, np.ndarray]:
    from tvmcomp.errors import InputError
    from tvmcomp.runtime.arrays import read_npy, read_npz

    if path.suffix != ".npy":
        return read_npz(path)
    states = {state.input for state in metadata.states}
    names = [spec.name for spec in metadata.signature.inputs if spec.name not in states]
    if len(names) != 1:
        raise InputError(
            f"is one array, and the network has {len(names)} inputs: {', '.join(names)}",
            where=str(path),
            hint="Give an .npz with an array for each.",
        )
    return {names[0]: read_npy(path)}


def _summary(array: np.ndarray) -> dict[str, Any]:
    values = array.astype("float64")
    return {
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "min": float(values.min()) if array.size else None,
        "max": float(values.max()) if array.size else None,
        "mean": float(values.mean()) if array.size else None,
    }


def _table(rows: dict[str, dict[str, Any]]) -> Table:
    cells = []
    for name, row in rows.items():
        numbers = ("-" if row[key] is None else f"{row[key]:.6g}" for key in ("min", "max", "mean"))
        cells.append((name, f"{row['dtype']}{row['shape']}", *numbers))
    columns = [Column("output", "name"), Column("type", "name")]
    columns += [Column("min", "number", 2), Column("max", "number", 1), Column("mean", "number", 3)]
    return fitted_table(columns, cells, out)[0]
