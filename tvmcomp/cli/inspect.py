"""``tvmcomp inspect``: what a model holds, and what int8 would do with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec
from rich.table import Column, Table

from tvmcomp.cli.common import json_option, out, parse_shapes, print_json

if TYPE_CHECKING:
    from tvmcomp.model import TensorSpec
    from tvmcomp.report.inspect import Inspection


@click.command(name="inspect")
@click.argument("model", type=click.Path(dir_okay=False))
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="NAME=DIM,…",
    help="Full shape of an input with dynamic dimensions; repeat for more inputs.",
)
@json_option
def command(model: str, shapes: tuple[str, ...], as_json: bool) -> None:
    """Show what MODEL takes, gives and holds, and what would run in int8.

    Lists inputs and outputs, operators by count, parameters, multiply-accumulates, and for each
    operator whether `build --quant int8` would compute it in integers, or why not. (A build with
    calibration data may keep more operators in float: its accuracy guard measures them.)

    \b
    Example:
      tvmcomp inspect model.onnx --shape x=1,3,224,224
    """
    from tvmcomp.frontend import load_model
    from tvmcomp.quantize.operator_report import expected_operators
    from tvmcomp.report.inspect import inspect_model

    loaded = load_model(model, parse_shapes(shapes))
    inspection = inspect_model(loaded, expected_operators(loaded.mod))
    if as_json:
        print_json(msgspec.to_builtins(inspection))
    else:
        _print(inspection)


def _print(inspection: Inspection) -> None:
    out.print(f"{inspection.source}  (SHA-256 {inspection.digest[:16]}…)", soft_wrap=True)
    for title, specs in (
        ("inputs", inspection.signature.inputs),
        ("outputs", inspection.signature.outputs),
    ):
        out.print(f"{title:<11}" + f"\n{'':<11}".join(_spec_text(spec) for spec in specs))
    megabytes = inspection.parameter_bytes / 1e6
    out.print(f"parameters {inspection.parameters:,} ({megabytes:.2f} MB)")
    out.print(f"MACs       {inspection.macs:,}")
    operators = Table(Column("operator"), Column("count", justify="right"))
    for name, count in inspection.operators.items():
        operators.add_row(name, str(count))
    out.print(operators)
    plan = Table(Column("node", overflow="fold"), "operator", "would run in")
    plan.add_column("MACs", justify="right")
    plan.add_column("reason", overflow="fold")
    for each in inspection.plan:
        plan.add_row(
            each.name, each.kind, each.dtype, f"{each.macs:,}" if each.macs else "", each.reason
        )
    out.print(plan)


def _spec_text(spec: TensorSpec) -> str:
    return f"{spec.name}  {spec.dtype}{list(spec.shape)}"
