"""``tvmcomp tune``: search for faster schedules of a network's kernels."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, cast

import click
import msgspec
from rich.table import Table

from tvmcomp.cli.common import err, log_option, out, parse_shapes

if TYPE_CHECKING:
    from tvmcomp.api import Quant
    from tvmcomp.tuning.events import Event, TuneSummary


@click.command("tune")
@click.argument("model", type=click.Path(exists=True, dir_okay=False))
@click.option("--target", default="native", show_default=True, help="Target name or TOML file.")
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Candidates to measure for each kernel, the untuned one included.",
)
@log_option
@click.option("--device", help="Measure on HOST:PORT, or on a board of TRACKER:PORT/KEY.")
@click.option("--shape", "shapes", multiple=True, help="Bind an input: x=1,3,224,224.")
@click.option("--quant", type=click.Choice(["none", "int8", "fp16", "bf16"]), default="none")
@click.option("--calib", type=click.Path(exists=True), help="Calibration data, for int8.")
@click.option("--cc", help="Link with this C compiler's command line.")
@click.option("--more", is_flag=True, help="Search again where the log has a finished search.")
@click.option("--json", "as_json", is_flag=True, help="Print events, one JSON object a line.")
def command(
    model: str,
    target: str,
    trials: int,
    log: tuple[str, ...],
    device: str | None,
    shapes: tuple[str, ...],
    quant: str,
    calib: str | None,
    cc: str | None,
    more: bool,
    as_json: bool,
) -> None:
    """Measure schedules of MODEL's kernels and keep what is found for later builds.

    Every trial is written to the log at once. Stopped by Ctrl-C, or worse, the same command goes
    on where it was; a kernel whose search has finished is not tuned again. A build with the same
    --log uses the fastest records of its instruction set.

    \b
    Example:
      tvmcomp tune model.onnx --target rpi4 --device 192.168.1.20:9090 --quant int8 \\
          --calib calib.npz --trials 64
    """
    import tvmcomp
    from tvmcomp.tuning.progress import LiveProgress

    bound = parse_shapes(shapes)
    with nullcontext(_print_event) if as_json else LiveProgress(err) as progress:
        summary = tvmcomp.tune(
            model,
            target=target,
            trials=trials,
            log=log or None,
            device=device,
            shapes=bound,
            quant=cast("Quant | None", None if quant == "none" else quant),
            calibration=calib,
            cc=cc,
            more=more,
            progress=progress,
        )
    if not as_json:
        _print_summary(summary)
    for problem in summary.problems:
        err.print(f"[yellow]log:[/yellow] {problem}", soft_wrap=True)
    if summary.interrupted:
        err.print(
            f"Stopped. Every finished trial is kept in {summary.log}; "
            "the same command goes on from there.",
            soft_wrap=True,
        )
        sys.exit(1)


def _print_event(event: Event) -> None:
    sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
    sys.stdout.flush()


def _print_summary(summary: TuneSummary) -> None:
    table = Table("task", "calls", "untuned ms", "best ms", "ratio", "trials", "failed", "status")
    for task in summary.tasks:
        untuned, best = task.untuned_seconds, task.best_seconds
        failures = ", ".join(f"{kind} {count}" for kind, count in sorted(task.failures.items()))
        table.add_row(
            task.task,
            str(task.weight),
            "–" if untuned is None else f"{untuned * 1e3:.3f}",
            "–" if best is None else f"{best * 1e3:.3f}",
            "–" if untuned is None or best is None else f"{untuned / best:.2f}",
            str(task.trials),
            failures or "0",
            task.status,
        )
    out.print(table)
    tuned = sum(task.status != "found" for task in summary.tasks)
    if not tuned:
        out.print(f"Every kernel's search was finished before; records in {summary.log}")
    else:
        rate = 60 * summary.trials / summary.seconds if summary.seconds else 0.0
        out.print(
            f"{summary.trials} trials in {summary.seconds:.0f} s ({rate:.0f} a minute); "
            f"records in {summary.log}"
        )
