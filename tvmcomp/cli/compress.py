"""``tvmcomp compress``: a smaller network of a trained one, with the proof of what it costs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
import msgspec

from tvmcomp.cli.binding_options import binding_arguments, binding_options
from tvmcomp.cli.common import Duration, err, json_option, out, print_json
from tvmcomp.cli.sample_options import sample_options
from tvmcomp.cli.technique_options import technique_options
from tvmcomp.compress.recipe import given_options

if TYPE_CHECKING:
    from tvmcomp.runtime.metrics import Metric


@click.command("compress")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The smaller ONNX model.")
@sample_options(
    required=False,
    judged="Judge on these, with `label` [default: a part of --data that nothing else uses].",
)
@technique_options
@click.option(
    "--recipe",
    metavar="FILE.toml",
    type=click.Path(path_type=Path),
    help="What to do in which order, with settings by operator.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    help="Points that the score may lose; the original is kept where it loses more.",
)
@click.option(
    "--budget",
    type=Duration(),
    default="20m",
    show_default=True,
    help="Time that training may take: 90s, 20m, 1.5h.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, help="The same gives the same network."
)
@click.option("--target", default="native", show_default=True, help="Measure for this target.")
@click.option("--device", metavar="ADDRESS", help="Measure there; as of `tvmcomp bench`.")
@click.option(
    "--measure/--no-measure",
    default=True,
    help="Build and time it before and after [default: yes].",
)
@click.option(
    "--checkpoint",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Keep what is done so far here [default: OUTPUT.checkpoint]; removed at the end.",
)
@binding_options()
@json_option
def command(
    model: Path,
    output: Path | None,
    data: Path | None,
    labels: Path | None,
    evaluation: Path | None,
    metric: str | None,
    recipe: Path | None,
    max_drop: float,
    budget: float,
    seed: int,
    target: str,
    device: str | None,
    measure: bool,
    checkpoint: Path | None,
    as_json: bool,
    shapes: Any,
    dims: Any,
    fixed: Any,
    signature: str | None,
    **techniques: Any,
) -> None:
    """Make MODEL smaller by what the options or a recipe say, and prove what it costs.

    MODEL is of any format that `tvmcomp build` reads. What is written is ONNX: any tool opens it,
    and `tvmcomp build` makes the artifact of it. Without an option that says what to do, it tells
    what it would try, with --data what each part of MODEL could lose and would save, and changes
    nothing.

    The samples need no labels: the original teaches. A part of them is held out, and the table at
    the end is of that part, or of --eval. Where the result is worse than --max-drop allows, nothing
    is written and the exit status is 1.

    Stopped by Ctrl-C, or worse, the same command goes on where it was.

    \b
    Examples:
      tvmcomp compress net.onnx --data samples.npz
      tvmcomp compress net.onnx -o small.onnx --data samples.npz --bits 4
      tvmcomp compress net.onnx -o small.onnx --data samples.npz --speedup 1.5 --distil
      tvmcomp compress net.onnx -o small.onnx --data photos/ --recipe recipe.toml --budget 20m
      tvmcomp compress net.onnx -o small.onnx --data samples.npz --bits 4 --distil \\
          --eval test.npz --metric top1
    """
    import tvmcomp
    from tvmcomp.cli.build_progress import BuildProgress
    from tvmcomp.report.compress import compress_report, print_proof, print_suggestions
    from tvmcomp.report.sensitivity import print_sensitivities

    bindings = {"shapes": shapes, "dims": dims, "fixed": fixed, "signature": signature}
    chosen = given_options(techniques)
    if output is None and (chosen or recipe):
        raise click.UsageError("-o says where the smaller model goes")
    try:
        with BuildProgress(err) as progress:
            result = tvmcomp.compress(
                model,
                output,
                data,
                eval=evaluation,
                labels=labels,
                metric=cast("Metric | None", metric),  # click.Choice checked it
                recipe=recipe,
                max_drop=max_drop,
                budget=budget,
                seed=seed,
                target=target,
                device=device,
                measure=measure,
                checkpoint=checkpoint,
                progress=progress,
                **binding_arguments(bindings),
                **chosen,
            )
    except KeyboardInterrupt:
        err.print("Stopped. What is done is kept; the same command goes on from there.")
        sys.exit(1)
    if result.proof is None:
        if as_json:
            looked = {n: getattr(result, n) for n in ("suggestions", "sensitivities")}
            print_json(msgspec.to_builtins(looked))
        else:
            print_sensitivities(result.sensitivities, out)
            print_suggestions(result.suggestions, out)
        return
    if as_json:
        print_json(compress_report(result.proof))
    else:
        print_proof(result.proof, out)
    sys.exit(0 if result.accepted else 1)
