"""``tvmcomp build``: compile a network for a device."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from tvmcomp.cli.common import err, json_option, log_option, out, parse_shapes, print_json

if TYPE_CHECKING:
    from tvmcomp.api import Quant
    from tvmcomp.quantize import QuantConfig


@click.command("build")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="[default: MODEL's name with .tvmc]"
)
@click.option("--target", default="native", show_default=True, help="Target name or TOML file.")
@click.option(
    "--quant",
    type=click.Choice(["none", "int8", "fp16", "bf16"]),
    default="none",
    show_default=True,
    help="Number format.",
)
@click.option(
    "--calib",
    type=click.Path(path_type=Path),
    help="Calibration data for int8: an .npz, or a folder of .npy, .npz or images.",
)
@click.option("--shape", "shapes", multiple=True, help="Bind an input's shape: x=1,3,224,224.")
@click.option("--quant-config", type=click.Path(path_type=Path), help="TOML of settings.")
@click.option("--keep-float", multiple=True, metavar="NODE", help="Keep an operator in float.")
@click.option(
    "--min-sqnr",
    metavar="DB|off",
    help="Signal-to-noise ratio that the accuracy guard keeps at the outputs; off quantizes all.",
)
@click.option("--trials", type=click.IntRange(min=0), default=0, help="Tune: trials a kernel.")
@log_option
@click.option("--device", metavar="ADDRESS", help="Measure there while tuning.")
@click.option("--threads", type=click.IntRange(min=1), help="Cores to build for [the target's].")
@click.option("--cc", help="Link with this C compiler's command line.")
@click.option("--dump", type=click.Path(file_okay=False), help="Write each phase's module here.")
@json_option
def command(
    model: Path,
    output: Path | None,
    target: str,
    quant: str,
    calib: Path | None,
    shapes: tuple[str, ...],
    quant_config: Path | None,
    keep_float: tuple[str, ...],
    min_sqnr: str | None,
    trials: int,
    log: tuple[str, ...],
    device: str | None,
    threads: int | None,
    cc: str | None,
    dump: str | None,
    as_json: bool,
) -> None:
    """Compile MODEL (.onnx) for a device into one file, with the evidence of what was done.

    int8 measures on the calibration samples how much each operator's quantization harms the
    outputs, and keeps in float the few that harm most (--min-sqnr, --keep-float).

    \b
    Examples:
      tvmcomp build net.onnx -o net.tvmc
      tvmcomp build net.onnx -o net.tvmc --target rpi5 --quant int8 --calib calib.npz
      tvmcomp build net.onnx --shape x=1,3,224,224 --quant fp16 --target graviton3
    """
    import msgspec

    import tvmcomp
    from tvmcomp import targets
    from tvmcomp.cli.build_progress import BuildProgress
    from tvmcomp.errors import ArtifactError
    from tvmcomp.report.build import build_report, print_report

    config = _config(quant_config, keep_float, min_sqnr)
    if quant != "int8" and (calib or quant_config or keep_float or min_sqnr):
        raise click.UsageError(
            "--calib, --quant-config, --keep-float and --min-sqnr go with --quant int8"
        )
    path = output or model.with_suffix(".tvmc")
    if not path.parent.is_dir():  # known now, and not after minutes of work
        raise ArtifactError(
            f"can't be written: there is no folder {path.parent}",
            where=str(path),
            hint="Make the folder, or give another -o.",
        )
    description = targets.load(target)
    if threads is not None:
        description = msgspec.structs.replace(description, cores=threads)
    with BuildProgress(err) as progress:
        artifact = tvmcomp.build(
            model,
            target=description,
            quant=cast("Quant | None", None if quant == "none" else quant),
            calibration=calib,
            shapes=parse_shapes(shapes),
            trials=trials,
            log=log or None,
            config=config,
            device=device,
            cc=cc,
            dump=dump,
            progress=progress,
            tuning_progress=progress.trial,
        )
        artifact.save(path)
    report = build_report(artifact, path)
    if as_json:
        print_json(report)
    else:
        print_report(report, out)


def _config(path: Path | None, keep_float: tuple[str, ...], min_sqnr: str | None) -> QuantConfig:
    import msgspec

    from tvmcomp.quantize import QuantConfig

    config = QuantConfig.load(path) if path else QuantConfig()
    changes: dict[str, Any] = {}
    if keep_float:
        changes["keep_float"] = (*config.keep_float, *keep_float)
    if min_sqnr is not None:
        changes["min_sqnr_db"] = _decibels(min_sqnr)
    return msgspec.structs.replace(config, **changes)


def _decibels(text: str) -> float | None:
    if text == "off":
        return None
    try:
        value = float(text)
        if math.isfinite(value) and value > 0:
            return value
    except ValueError:
        pass
    raise click.BadParameter(
        f"{text!r} is neither a number of dB above 0 nor 'off'", param_hint="--min-sqnr"
    )
