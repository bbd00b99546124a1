"""``tvmcomp eval``: how well an artifact does its task, beside the float network."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from rich.progress import track

from tvmcomp.cli.binding_options import binding_arguments, binding_options
from tvmcomp.cli.common import err, json_option, out, print_json
from tvmcomp.cli.machine_options import Place, machine_for, machine_options

if TYPE_CHECKING:
    from tvmcomp.artifact.artifact import Artifact
    from tvmcomp.runtime.evaluate import Metric
    from tvmcomp.runtime.threads import Pin

#: Kept here too, so that --help needs no import of TVM; a test holds them equal.
METRICS = ("top1", "top5", "agreement", "sqnr", "cosine")


@click.command("eval")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="D.npz: an array with a leading sample axis for each input, and `label`.",
)
@click.option("--metric", type=click.Choice(METRICS), default="top1", show_default=True)
@click.option("--output", help="The output to judge [default: the first].")
@click.option(
    "--float",
    "float_path",
    type=click.Path(path_type=Path),
    help="The float network: an artifact, or the model [default: the artifact's source model].",
)
@binding_options("fixed", "signature")
@machine_options
@json_option
def command(
    artifact: Path,
    data: Path,
    metric: str,
    output: str | None,
    float_path: Path | None,
    place: Place,
    threads: int | None,
    pin: Pin,
    as_json: bool,
    **bindings: Any,
) -> None:
    """Evaluate ARTIFACT on labelled samples, beside the float network.

    \b
    top1, top5          share of samples whose label is the best score, or among the best five
    agreement           share of samples where the best score is the float network's
    sqnr, cosine        likeness of the output to the float network's; need no labels

    \b
    Example:
      tvmcomp eval net.tvmc --data test.npz --metric top1 --float net-float.tvmc
    """
    import msgspec

    from tvmcomp.artifact.artifact import Artifact
    from tvmcomp.cli.float_network import find_float_network
    from tvmcomp.runtime.evaluate import evaluate, read_dataset
    from tvmcomp.runtime.session import load_on

    loaded = Artifact.load(artifact)
    dataset = read_dataset(data, loaded.metadata.signature)
    reference, remark = find_float_network(loaded, float_path, **binding_arguments(bindings))
    with ExitStack() as stack:
        machine = stack.enter_context(machine_for(place))
        session = stack.enter_context(load_on(machine, loaded, threads, pin))
        float_session = (
            None
            if reference is None
            else stack.enter_context(load_on(machine, reference, threads, pin))
        )

        def progress(samples: Iterable[int]) -> Iterable[int]:
            return track(
                samples,
                "evaluating",
                console=err,
                transient=True,
                disable=as_json or not err.is_terminal,
            )

        result = evaluate(
            session,
            dataset,
            cast("Metric", metric),  # click.Choice checked it
            float_session,
            output=output,
            progress=progress,
        )
    if as_json:
        print_json(
            {**msgspec.to_builtins(result), "quant": loaded.metadata.quant, "remark": remark}
        )
        return
    out.print(f"{result.metric} of output {result.output} on {result.samples} samples")
    ends = f"{_format(result.low, result.unit)} to {_format(result.high, result.unit)}"
    out.print(
        f"  {_quant(loaded):<11} {_format(result.value, result.unit)}, 95% confidence {ends}",
        soft_wrap=True,
    )
    if result.float_value is not None and result.difference is not None:
        ends = f"{result.difference_low:+.2f} to {result.difference_high:+.2f}"
        out.print(f"  {'float':<11} {_format(result.float_value, result.unit)}")
        out.print(
            f"  {'difference':<11} {result.difference:+.2f} points, 95% confidence {ends}",
            soft_wrap=True,
        )
    if remark:
        out.print(remark, soft_wrap=True)


def _quant(artifact: Artifact) -> str:
    return "float" if artifact.metadata.quant == "none" else artifact.metadata.quant


def _format(value: float, unit: str) -> str:
    return f"{value:.2f}%" if unit == "%" else f"{value:.4f} {unit}".rstrip()
