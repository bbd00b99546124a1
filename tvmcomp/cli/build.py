"""``tvmcomp build``: compile a network for a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tvmcomp.cli.common import (
    NotingCommand,
    all_option,
    err,
    json_option,
    log_option,
    out,
    print_json,
    typed_line,
)
from tvmcomp.cli.network_options import network_arguments, network_options


@click.command("build", cls=NotingCommand)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="[default: MODEL's name with .tvmc]"
)
@network_options
@click.option("--trials", type=click.IntRange(min=0), default=0, help="Tune: trials a kernel.")
@log_option
@click.option("--device", metavar="ADDRESS", help="Measure formats there, and while tuning.")
@click.option("--small", is_flag=True, help="Code the weights: a smaller file, a slower load.")
@click.option("--dump", type=click.Path(file_okay=False), help="Write each phase's module here.")
@all_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: Path,
    output: Path | None,
    trials: int,
    log: tuple[str, ...],
    device: str | None,
    small: bool,
    dump: str | None,
    show_all: bool,
    as_json: bool,
    **network: Any,
) -> None:
    """Compile MODEL for a device into one file, with the evidence of what was done.

    MODEL is ONNX, TensorFlow Lite, Keras (.keras, .h5), a SavedModel folder or an exported PyTorch
    program (.pt2): what the file holds says which.

    int8 fits ranges and weights' integers on a part of the calibration samples, and measures on the
    others how much quantization harms the outputs: the few operators that harm most stay float
    (--round, --min-sqnr, --keep-float). Where integers are slower than float32, operators run in
    float32 (--formats).

    It ends with the operators that matter: what stays float and why, what has only a generic
    kernel, what takes most multiplications. --all shows every one, and --json everything.

    Several shapes of one input (--shape x=1,3,224,224 --shape x=8,3,224,224, or --dim batch=1,8)
    give one file that runs each of them with the same weights; a run's inputs say which. The first
    is calibrated for and measured.

    \b
    Examples:
      tvmcomp build net.onnx -o net.tvmc
      tvmcomp build net.onnx -o net.tvmc --target rpi5 --quant int8 --calibration calib.npz
      tvmcomp build net.onnx -o net.tvmc --quant dynamic --small
      tvmcomp build net.onnx --shape x=1,3,224,224 --quant fp16 --target graviton3
    """
    import tvmcomp
    from tvmcomp.cli.build_progress import BuildProgress
    from tvmcomp.errors import ArtifactError
    from tvmcomp.report.build import build_report, print_report

    arguments = network_arguments(network)
    path = output or model.with_suffix(".tvmc")
    if not path.parent.is_dir():  # known now, and not after minutes of work
        raise ArtifactError(
            f"can't be written: there is no folder {path.parent}",
            where=str(path),
            hint="Make the folder, or give another -o.",
        )
    with BuildProgress(err) as progress:
        artifact = tvmcomp.build(
            model,
            trials=trials,
            log=log or None,
            device=device,
            small=small,
            dump=dump,
            progress=progress,
            tuning_progress=progress.trial,
            **arguments,
        ).made_by(typed_line(ctx))
        artifact.save(path)
    report = build_report(artifact, path)
    if as_json:
        print_json(report)
    else:
        print_report(report, out, show_all=show_all)
