#!/usr/bin/env python3
"""How fast tuning is, and what it gains.

    python -m benchmarks.tuning rate mobilenet-v2 --precision fp32,int8
    python -m benchmarks.tuning gain mobilenet-v2:int8 squeezenet1.1:fp32 --minutes 20 --logs LOGS
    python -m benchmarks.tuning half mobilenet-v2:int8 squeezenet1.1:fp32 --logs LOGS

``rate`` counts trials a minute on the kernels of a network: our tuner's, and stock MetaSchedule's
with its own LocalBuilder and LocalRunner on the same kernels, one after the other.

``gain`` tunes each network from an empty log, builds it with and without the records, and lets the
two artifacts take turns. It also says when half of the kernels' gain was reached, and the same with
the logs of the other networks at hand; and that a second run finds the records and tunes nothing.

``half`` takes the logs that ``gain`` left, and compares how soon half of that gain is reached with
the logs of the other networks and from an empty log: in turns, each run ending there.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

import tvmcomp
from benchmarks.peers.cases import Case, load
from benchmarks.peers.turns import Contestant, take_turns
from benchmarks.tuning.stock import stock_rate
from tvmcomp import frontend, targets
from tvmcomp.passes.pipeline import lower
from tvmcomp.progress import NoProgress
from tvmcomp.quantize import QuantConfig
from tvmcomp.quantize.data import load_samples
from tvmcomp.quantize.precision import choose_precision
from tvmcomp.tuning.events import Event, Improved, TaskStarted, TuneSummary
from tvmcomp.tuning.task import Task

#: Times that each artifact is loaded.
_STARTS = 4


@dataclass
class Curve:
    """What the kernels of an inference take, as a run goes on.

    Attributes:
        baseline: seconds of all kernels of an inference without tuning.
        points: (seconds since the start, seconds with what was found by then).
        ends_at: the arguments of :meth:`reached` that the run ends at; None where it goes on.
    """

    baseline: float = 0.0
    ends_at: tuple[float, float] | None = None
    points: list[tuple[float, float]] = field(default_factory=list)
    _weights: dict[str, int] = field(default_factory=dict)
    _best: dict[str, float] = field(default_factory=dict)
    _start: float = field(default_factory=time.monotonic)

    def __call__(self, event: Event) -> None:
        """Take in an event of the tuner."""
        if isinstance(event, TaskStarted):
            self._weights[event.task] = event.weight
            self.baseline += event.weight * event.baseline_seconds
            self.points.clear()  # all tasks start before the first of them improves
        if isinstance(event, TaskStarted | Improved):
            self._best[event.task] = event.incumbent_seconds
            total = sum(self._weights[task] * best for task, best in self._best.items())
            self.points.append((time.monotonic() - self._start, total))
            if self.ends_at is not None and self.reached(*self.ends_at) is not None:
                self.ends_at = None
                raise KeyboardInterrupt  # the tuner ends in an orderly way

    def reached(self, share: float, of: float) -> float | None:
        """Seconds until ``share`` of the gain ``of`` was reached; None where it was not."""
        wanted = self.baseline / (1 + share * (of - 1))
        return next((at for at, total in self.points if total <= wanted), None)


@click.group(help=__doc__)
def main() -> None:
    """See the module."""


@main.command()
@click.argument("network")
@click.option("--precision", default="fp32,int8", show_default=True)
@click.option("--seconds", default=120.0, show_default=True, help="Of each tuner.")
@click.option("--stock-batch", default=64, show_default=True, help="MetaSchedule's own is 64.")
def rate(network: str, precision: str, seconds: float, stock_batch: int) -> None:
    """Trials a minute: ours, and stock MetaSchedule's."""
    case = load(network)
    for each in precision.split(","):
        target, tasks = _kernels_of(case, each)
        with tempfile.TemporaryDirectory() as log:
            summary = tvmcomp.tune(
                case.model, trials=None, budget=seconds, log=[log, "none"], **_options(case, each)
            )
        ours = 60 * summary.trials / summary.seconds
        stock = stock_rate(tasks, target, seconds, stock_batch)
        times = f"{ours / stock.a_minute:.1f} times" if stock.tried else "it finished no batch"
        click.echo(
            f"{network} {each}: {ours:.0f} trials a minute ({summary.trials} in "
            f"{summary.seconds:.0f} s), stock MetaSchedule {stock.a_minute:.1f} ({stock.tried} in "
            f"{stock.seconds:.0f} s, {stock.measured} of them measured): {times}"
        )


def _options(case: Case, precision: str) -> dict[str, Any]:
    """What builds and tunes ``case`` in a precision."""
    options: dict[str, Any] = {"shapes": case.shapes}
    if precision == "int8":
        samples = len(next(iter(case.calibration.values())))
        options["quant"] = "int8"
        options["calibration"] = [
            {name: array[i : i + 1] for name, array in case.calibration.items()}
            for i in range(samples)
        ]
    elif precision != "fp32":
        options["quant"] = precision
    return options


def _kernels_of(case: Case, precision: str) -> tuple[targets.TargetDescription, list[Task]]:
    """This machine, and the kernels of a network for it, unscheduled."""
    here = targets.load("native")
    network = frontend.load_model(case.model, case.shapes)
    options = _options(case, precision)
    samples = None
    if "calibration" in options:
        samples = load_samples(options["calibration"], network.signature, None, 8)
    choice = choose_precision(
        network, here, here, options.get("quant"), samples, QuantConfig(), NoProgress(), None
    )
    lowered = lower(choice.mod, here, half=choice.half)
    return here, [Task(name, lowered.tasks[name], n) for name, n in lowered.calls.items()]


@dataclass(frozen=True)
class Gain:
    """What tuning a network came to.

    Attributes:
        network: with its precision.
        ratio: the latency without tuning over the tuned one's, median over the rounds.
        baseline_ms, tuned_ms: medians.
        kernels: the same ratio by the sum of the kernels' own times.
        half_seconds: until half of that gain was reached, None where there was none.
        half_seconds_known: the same with the logs of the other networks.
        trials: of the run.
        unfinished: kernels that a second run with the same log would tune.
    """

    network: str
    ratio: float
    baseline_ms: float
    tuned_ms: float
    kernels: float
    half_seconds: float | None
    half_seconds_known: float | None
    trials: int
    unfinished: int


@main.command()
@click.argument("networks", nargs=-1, required=True)
@click.option("--minutes", default=20.0, show_default=True, help="Of each search.")
@click.option("--known/--no-known", default=True, help="Search again with the others' logs.")
@click.option("--rounds", default=6, show_default=True, help="Turns of each artifact a start.")
@click.option("--logs", type=click.Path(path_type=Path), help="Keep the logs in this folder.")
@click.option("--json", "as_json", is_flag=True)
def gain(
    networks: tuple[str, ...],
    minutes: float,
    known: bool,
    rounds: int,
    logs: Path | None,
    as_json: bool,
) -> None:
    """What MINUTES of tuning gain for NETWORKS, each NAME:PRECISION."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = logs or Path(scratch)
        runs = {
            network: (_tune(network, minutes, [folder / network.replace(":", "-")]))
            for network in networks
        }
        results = []
        for network in networks:
            summary, curve = runs[network]
            own = folder / network.replace(":", "-")
            others = [folder / other.replace(":", "-") for other in networks if other != network]
            again = _tune(network, 0.01, [own])[0].tasks
            unfinished = sum(task.status != "found" for task in again)
            half_known = None
            baseline, incumbent = _kernels(summary)
            if known and others:
                with tempfile.TemporaryDirectory() as fresh:
                    second = _tune(network, minutes / 4, [Path(fresh), *others])[1]
                    half_known = second.reached(0.5, baseline / incumbent)
            ratio, slow, fast = _compare(network, own, rounds)
            half = curve.reached(0.5, baseline / incumbent)
            result = Gain(
                *(network, ratio, slow, fast, baseline / incumbent),
                *(half, half_known, summary.trials, unfinished),
            )
            results.append(result)
            click.echo(json.dumps(asdict(result)) if as_json else _words(result, minutes))
    ratios = [result.ratio for result in results]
    if not as_json:
        click.echo(
            f"geometric mean {statistics.geometric_mean(ratios):.3f}, least {min(ratios):.3f}"
        )
    sys.exit(min(ratios) < 1.0)


@main.command()
@click.argument("networks", nargs=-1, required=True)
@click.option("--logs", type=click.Path(path_type=Path), required=True, help="Of `gain`.")
@click.option("--seconds", default=120.0, show_default=True, help="Of each search, at most.")
@click.option("--runs", default=2, show_default=True)
def half(networks: tuple[str, ...], logs: Path, seconds: float, runs: int) -> None:
    """How soon half of the gain is reached, with the others' logs and without."""
    own = {network: logs / network.replace(":", "-") for network in networks}
    for network in networks:
        baseline, incumbent = _kernels(_tune(network, 0.01, [own[network]])[0])
        others = [path for other, path in own.items() if other != network]
        reached: dict[bool, list[str]] = {True: [], False: []}
        for run in range(runs):
            for known in (True, False) if run % 2 else (False, True):
                with tempfile.TemporaryDirectory() as fresh:
                    curve = Curve(ends_at=(0.5, baseline / incumbent))
                    folders = [Path(fresh), *(others if known else [])]
                    _tune(network, seconds / 60, folders, curve)
                at = curve.reached(0.5, baseline / incumbent)
                reached[known].append("never" if at is None else f"{at:.1f} s")
        click.echo(
            f"{network}: half of {baseline / incumbent:.3f} after {', '.join(reached[True])} "
            f"with the others' logs, {', '.join(reached[False])} from an empty one"
        )


def _words(gain: Gain, minutes: float) -> str:
    half, known = (
        "never" if at is None else f"{at:.0f} s"
        for at in (gain.half_seconds, gain.half_seconds_known)
    )
    return (
        f"{gain.network}: {gain.baseline_ms:.3f} -> {gain.tuned_ms:.3f} ms, {gain.ratio:.3f} times "
        f"(kernels {gain.kernels:.3f}) in {minutes:g} minutes, {gain.trials} trials; half of the "
        f"kernels' gain after {half}, {known} with the others' logs; a second run finds "
        f"{gain.unfinished} searches unfinished"
    )


def _tune(
    network: str, minutes: float, logs: Sequence[Path], curve: Curve | None = None
) -> tuple[TuneSummary, Curve]:
    name, _, precision = network.partition(":")
    case = load(name)
    curve = curve or Curve()
    summary = tvmcomp.tune(
        case.model,
        trials=None,
        budget=60 * minutes,
        log=[*logs, "none"],
        progress=curve,
        **_options(case, precision),
    )
    return summary, curve


def _kernels(summary: TuneSummary) -> tuple[float, float]:
    """Seconds of all kernels of an inference: of the baselines, and of the incumbents."""
    tasks = [task for task in summary.tasks if task.baseline_seconds and task.incumbent_seconds]
    return (
        sum(task.weight * (task.baseline_seconds or 0.0) for task in tasks),
        sum(task.weight * (task.incumbent_seconds or 0.0) for task in tasks),
    )


def _compare(network: str, log: Path, rounds: int) -> tuple[float, float, float]:
    """(baseline over tuned, baseline ms, tuned ms): two processes that take turns.

    Where its memory lies makes a process slow for its whole life: each is started several times.
    """
    name, _, precision = network.partition(":")
    case = load(name)
    build = partial(tvmcomp.build, case.model, reference=False, **_options(case, precision))
    with tempfile.TemporaryDirectory() as scratch:
        paths = [Path(scratch, f"{which}.tvmc") for which in ("baseline", "tuned")]
        for path, location in zip(paths, ("none", [log, "none"]), strict=True):
            build(log=location).save(path)
        blocks: list[list[float]] = [[], []]
        for _ in range(_STARTS):
            entered = [Contestant("tvmcomp", precision, path) for path in paths]
            take_turns(entered, case.inputs, 2, rounds=rounds, block_seconds=0.3, environment={})
            for times, contestant in zip(blocks, entered, strict=True):
                times += contestant.blocks
    baseline, tuned = np.array(blocks)
    ms = [float(np.median(times)) for times in blocks]
    return float(np.median(baseline / tuned)), *ms


if __name__ == "__main__":
    main()
