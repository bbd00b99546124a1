"""``tvmcomp inspect``: what a model holds, what int8 would do with it, and what it could lose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from tvmcomp.cli.binding_options import binding_arguments, binding_options
from tvmcomp.cli.common import all_option, json_option, out, print_json

if TYPE_CHECKING:
    from tvmcomp.compress.sensitivity import Sensitivity
    from tvmcomp.model import TensorSpec
    from tvmcomp.report.inspect import Inspection


@click.command(name="inspect")
@click.argument("model", type=click.Path())
@click.option(
    "--data",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Samples; show also what its parts could lose, and what that would save.",
)
@click.option("--target", default="native", show_default=True, help="Save there.")
@binding_options()
@all_option
@json_option
def command(
    model: str, data: Path | None, target: str, show_all: bool, as_json: bool, **bindings: Any
) -> None:
    """Show what MODEL takes, gives and holds, and what would run in int8.

    Lists inputs and outputs, operators by count, parameters, multiply-accumulates, and for the
    operators that matter (--all: for each) whether `build --quant int8` would compute them in
    integers, or why not. (A build with calibration data may keep more operators in float: its
    accuracy guard measures them.) With --data, what `compress` could take from each part of it.

    \b
    Examples:
      tvmcomp inspect model.onnx --shape x=1,3,224,224
      tvmcomp inspect model.onnx --data samples.npz --target rpi4
    """
    from tvmcomp.frontend import load_model
    from tvmcomp.quantize.operator_report import expected_operators
    from tvmcomp.report.inspect import inspect_model
    from tvmcomp.report.sensitivity import print_sensitivities

    loaded = load_model(model, **binding_arguments(bindings))
    inspection = inspect_model(loaded, expected_operators(loaded.mod))
    found: tuple[Sensitivity, ...] = ()
    if data is not None:
        import tvmcomp

        looked = tvmcomp.compress(model, data=data, target=target, **binding_arguments(bindings))
        found = looked.sensitivities
    if as_json:
        more = {} if data is None else {"sensitivities": msgspec.to_builtins(found)}
        print_json({**msgspec.to_builtins(inspection), **more})
    else:
        _print(inspection, show_all)
        print_sensitivities(found, out)


def _print(inspection: Inspection, show_all: bool) -> None:
    from tvmcomp.report.operators import print_operators

    out.print(f"{inspection.source}  (SHA-256 {inspection.digest[:16]}…)", soft_wrap=True)
    for title, specs in (
        ("inputs", inspection.signature.inputs),
        ("outputs", inspection.signature.outputs),
    ):
        out.print(f"{title:<11}" + f"\n{'':<11}".join(_spec_text(spec) for spec in specs))
    megabytes = inspection.parameter_bytes / 1e6
    out.print(f"parameters {inspection.parameters:,} ({megabytes:.2f} MB)")
    out.print(f"MACs       {inspection.macs:,}")
    total = sum(inspection.operators.values())
    counts = ", ".join(f"{count} {name}" for name, count in inspection.operators.items())
    out.print(f"operators  {total:,}: {counts}", markup=False)
    print_operators(inspection.plan, out, runs_in="would run in", show_all=show_all)


def _spec_text(spec: TensorSpec) -> str:
    return f"{spec.name}  {spec.dtype}{list(spec.shape)}"
