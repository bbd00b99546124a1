"""The options that decide which kernels a network becomes: the same of `build` and of `tune`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tvmcomp.cli.binding_options import binding_arguments, binding_options

if TYPE_CHECKING:
    from tvmcomp.quantize import QuantConfig

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--target", default="native", show_default=True, help="Target name or TOML file."),
    click.option(
        "--quant",
        type=click.Choice(["none", "int8", "dynamic", "fp16", "bf16"]),
        default="none",
        show_default=True,
        help="Precision; none is the model's own, dynamic int8 without calibration.",
    ),
    click.option(
        "--calibration",
        "--calib",
        "calibration",
        metavar="PATH",
        type=click.Path(path_type=Path),
        help="Calibration data for int8: an .npz, or a folder of .npy, .npz or images.",
    ),
    binding_options(),
    click.option("--quant-config", type=click.Path(path_type=Path), help="TOML of settings."),
    click.option(
        "--keep-float", multiple=True, metavar="NODE", help="Keep an operator in float; repeatable."
    ),
    click.option(
        "--min-sqnr",
        metavar="DB|off",
        help="Signal-to-noise ratio that the accuracy guard keeps at the outputs; off quantizes "
        "all.",
    ),
    click.option(
        "--round",
        "rounding",
        type=click.Choice(["nearest", "best"]),
        help="Integers of int8 weights: the nearest, or those that harm the results least on the "
        "calibration samples, which takes longer, within limits.  [default: best]",
    ),
    click.option(
        "--formats",
        type=click.Choice(["fastest", "unmeasured", "asked"]),
        help="Of int8: let operators run in float32 where that is faster, by times measured here "
        "or on the --device, which the log keeps; by the log or a model alone; or never.  "
        "[default: fastest]",
    ),
    click.option(
        "--threads", type=click.IntRange(1, 4096), help="Cores to build for [the target's]."
    ),
    click.option(
        "--cuda-graphs",
        is_flag=True,
        help="Of a GPU: launch kernels as CUDA graphs (not tried on a GPU yet).",
    ),
    click.option("--linker", metavar="COMMAND", help="Link with this C compiler's command line."),
)


def network_options(command: F) -> F:
    """Add them; the command gives what it gets by keyword to :func:`network_arguments`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def network_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of :func:`tvmcomp.build` and :func:`tvmcomp.tune` that the options stand for.

    Raises:
        click.UsageError: they don't go together, or one is malformed.
        TvmcompError: the target, or the file of settings, can't be used.
    """
    import msgspec

    from tvmcomp import targets

    quant, calibration = options["quant"], options["calibration"]
    keep_float, min_sqnr = options["keep_float"], options["min_sqnr"]
    rounding = options["rounding"]
    config = _config(options["quant_config"], keep_float, min_sqnr, rounding)
    if quant != "int8" and (calibration or min_sqnr or rounding):
        raise click.UsageError("--calibration, --min-sqnr and --round go with --quant int8")
    if quant != "int8" and options["formats"]:
        raise click.UsageError("--formats goes with --quant int8")
    if quant not in ("int8", "dynamic") and (options["quant_config"] or keep_float):
        raise click.UsageError("--quant-config and --keep-float go with --quant int8 or dynamic")
    target = targets.load(options["target"])
    if options["threads"] is not None:
        target = msgspec.structs.replace(target, cores=options["threads"])
    if options["cuda_graphs"]:
        if target.family != "cuda":
            raise click.UsageError(f"--cuda-graphs goes with a GPU, and {target.name} is none")
        gpu = msgspec.structs.replace(target.gpu, graphs=True)
        target = msgspec.structs.replace(target, gpu=gpu)
    return {
        "target": target,
        "quant": None if quant == "none" else quant,
        "calibration": calibration,
        **binding_arguments(options),
        "config": config,
        "formats": options["formats"],
        "linker": options["linker"],
    }


def _config(
    path: Path | None, keep_float: tuple[str, ...], min_sqnr: str | None, rounding: str | None
) -> QuantConfig:
    import msgspec

    from tvmcomp.quantize import QuantConfig

    config = QuantConfig.load(path) if path else QuantConfig()
    changes: dict[str, Any] = {}
    if keep_float:
        changes["keep_float"] = (*config.keep_float, *keep_float)
    if min_sqnr is not None:
        changes["min_sqnr_db"] = _decibels(min_sqnr)
    if rounding is not None:
        changes["round"] = rounding
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
