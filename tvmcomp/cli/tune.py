"""``tvmcomp tune``: search for faster schedules of a network's kernels."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.table import Table
from rich.text import Text

from tvmcomp.cli.common import Duration, NotingCommand, err, log_option, out, plain, print_problems
from tvmcomp.cli.network_options import network_arguments, network_options
from tvmcomp.fitted import Column, fitted_table

if TYPE_CHECKING:
    from tvmcomp.tuning.events import Event, TuneSummary


#: For each kernel, where neither a number nor a time is given.
_TRIALS = 64


@click.command("tune", cls=NotingCommand)
@click.argument("model", type=click.Path(exists=True))
@network_options
@click.option(
    "--trials",
    type=click.IntRange(1, 2**31 - 1),
    help="Candidates to measure for each kernel, the baseline included.  [default: 64, or as "
    "many as find something faster in the --budget]",
)
@click.option("--budget", type=Duration(), help="Time for the whole search: 90s, 20m, 1.5h.")
@click.option(
    "--ops", multiple=True, help="Tune only kernels with this text in their names; repeatable."
)
@log_option
@click.option(
    "--device",
    metavar="ADDRESS",
    help="Measure there: ssh://USER@HOST[:PORT] or adb://SERIAL, which needs but a shell; "
    "HOST:PORT, or the boards of TRACKER:PORT/KEY.",
)
@click.option(
    "--runner",
    metavar="COMMAND",
    help="Put it before programs on a device with a shell: qemu-aarch64-static.",
)
@click.option("--builders", help="Build on a Ray cluster: ray, or its address.")
@click.option("--more", is_flag=True, help="Search again where the log has a finished search.")
@click.option("--json", "as_json", is_flag=True, help="Print events, one JSON object a line.")
def command(
    model: str,
    trials: int | None,
    budget: float | None,
    ops: tuple[str, ...],
    log: tuple[str, ...],
    device: str | None,
    runner: str | None,
    builders: str | None,
    more: bool,
    as_json: bool,
    **network: Any,
) -> None:
    """Measure schedules of MODEL's kernels and keep what is found for later builds.

    Time goes where it may still save an inference most. On this machine kernels are measured in the
    network that calls them. A schedule is kept only if it beats the baseline again and again, in
    turns with it. Every trial is written to the log at once.
    Stopped by Ctrl-C, or worse, the same command goes on where it was; a kernel whose search has
    finished is not tuned again. A build with the same --log uses what was kept: give it the same
    options, which decide the kernels that it has.

    \b
    Example:
      tvmcomp tune model.onnx --budget 20m
      tvmcomp tune model.onnx --target rpi4 --device 192.168.1.20:9190/rpi4 --quant int8 \\
          --calibration calib.npz --trials 64
    """
    import tvmcomp
    from tvmcomp.tuning.progress import LiveProgress

    arguments = network_arguments(network)
    if trials is None and budget is None:
        trials = _TRIALS
    with nullcontext(_print_event) if as_json else LiveProgress(err) as progress:
        summary = tvmcomp.tune(
            model,
            trials=trials,
            budget=budget,
            operators=ops,
            log=log or None,
            device=device,
            runner=runner,
            builders=builders,
            more=more,
            progress=progress,
            **arguments,
        )
    if not as_json:
        _print_summary(summary)
    print_problems(summary.problems)
    if summary.interrupted:
        stopped = f"Stopped. Every finished trial is kept in {summary.log}; "
        err.print(plain(f"{stopped}the same command goes on from there."), soft_wrap=True)
    if summary.interrupted or summary.failed:
        sys.exit(1)


def _print_event(event: Event) -> None:
    sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
    sys.stdout.flush()


def _print_summary(summary: TuneSummary) -> None:
    from tvmcomp.tuning.progress import times

    out.print(_task_table(summary))
    if not summary.tasks:
        out.print("the network has no kernel to tune")
    elif all(task.status == "found" for task in summary.tasks):
        kept = f"records in {summary.log}; --more searches on"
        text = f"Every kernel's search was finished before; {kept}"
        out.print(plain(text), soft_wrap=True)
    else:
        rate = 60 * summary.trials / summary.seconds if summary.seconds else 0.0
        done = f"{summary.trials} trials in {summary.seconds:.0f} s ({rate:.0f} a minute)"
        out.print(plain(f"{done}; records in {summary.log}"), soft_wrap=True)
    for task in summary.tasks:
        if task.status == "failed":
            err.print(plain(f"{task.task} failed: {task.error}"), soft_wrap=True)
    timed = [task for task in summary.tasks if task.baseline_seconds and task.incumbent_seconds]
    if timed:
        baseline, incumbent = (
            sum(task.weight * (getattr(task, which) or 0.0) for task in timed)
            for which in ("baseline_seconds", "incumbent_seconds")
        )
        out.print(f"all kernels of an inference: {times(baseline, incumbent)}")
    if summary.baseline_seconds and summary.tuned_seconds:
        out.print(
            "the network, measured in turns without and with what was found: "
            + times(summary.baseline_seconds, summary.tuned_seconds)
        )
    elif summary.unchanged:
        out.print("the network stays as it is without tuning: nothing found is faster in all of it")
    for fault, count in summary.faults.items():
        err.print(Text.assemble(("board: ", "yellow"), plain(f"{fault} ({count} times)")))


def _task_table(summary: TuneSummary) -> Table:
    rows = []
    for task in summary.tasks:
        baseline, incumbent = task.baseline_seconds, task.incumbent_seconds
        failures = ", ".join(f"{kind} {count}" for kind, count in sorted(task.failures.items()))
        rows.append(
            (
                task.task,
                str(task.weight),
                _milliseconds(baseline),
                _milliseconds(incumbent),
                "–" if baseline is None or incumbent is None else f"{baseline / incumbent:.2f}",
                _milliseconds(task.roofline_seconds),
                str(task.trials),
                failures or "0",
                task.status,
            )
        )
    columns = (
        Column("task", "name"),
        Column("calls", "number", rank=4),
        Column("baseline ms", "number", rank=1),
        Column("incumbent ms", "number", rank=2),
        Column("speedup", "number"),
        Column("roofline ms", "number", rank=6),
        Column("trials", "number", rank=5),
        Column("failed", "sentence", rank=3),
        Column("status"),
    )
    return fitted_table(columns, rows, out)[0]


def _milliseconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1e3:.3f}"
