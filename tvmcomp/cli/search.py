"""``tvmcomp search``: from a trained network and a goal on a device to what reaches it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from tvmcomp.cli.binding_options import binding_arguments, binding_options
from tvmcomp.cli.common import Duration, RecordingCommand, err, out, plain, typed_line
from tvmcomp.cli.sample_options import sample_options

if TYPE_CHECKING:
    from tvmcomp.progress import Progress
    from tvmcomp.runtime.metrics import Metric
    from tvmcomp.search.events import Event
    from tvmcomp.search.outcome import Front


@click.command("search", cls=RecordingCommand)
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.option(
    "-o",
    "--output",
    metavar="FOLDER",
    required=True,
    type=click.Path(path_type=Path),
    help="Everything goes here; a search that was stopped goes on from it.",
)
@click.option(
    "--family",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="In place of MODEL: ONNX files of one task, one front over all; needs labelled --eval. "
    "Where inputs differ, --data and --eval are folders with NAME.npz for each NAME.onnx.",
)
@sample_options(
    required=True,
    judged="A third of these chooses, the rest judges; with `label` [default: parts of --data].",
)
@click.option("--max-drop", type=click.FloatRange(0, 100), help="Points that may be lost.")
@click.option("--max-latency", metavar="TIME", help="Median latency on the device: 8ms, 900us.")
@click.option("--max-size", metavar="SIZE", help="Of the artifact's file: 2MB, 800KB.")
@click.option("--max-memory", metavar="SIZE", help="Of the process that runs it: 6MB.")
@click.option(
    "--budget", type=Duration(), default="30m", show_default=True, help="Time: 90s, 20m, 2h."
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, help="Of what is drawn.")
@click.option("--target", default="native", show_default=True, help="Build for this target.")
@click.option("--device", metavar="ADDRESS", help="Measure there; as of `tvmcomp bench`.")
@click.option("--builders", help="Make networks on a Ray cluster: ray, or its address.")
@binding_options()
@click.option(
    "--json", "as_json", is_flag=True, help="Print events, then the front, one JSON object a line."
)
def command(
    model: Path | None,
    family: Path | None,
    output: Path,
    data: Path,
    labels: Path | None,
    evaluation: Path | None,
    metric: str | None,
    max_drop: float | None,
    max_latency: str | None,
    max_size: str | None,
    max_memory: str | None,
    budget: float,
    seed: int,
    target: str,
    device: str | None,
    builders: str | None,
    as_json: bool,
    **bindings: Any,
) -> None:
    """Search for the network that reaches goals on a device, starting from MODEL.

    Number formats, channels kept and bits of stored weights are chosen together, layer by layer,
    by what each costs on the device and what it harms on the samples. The best few are trained to
    give what MODEL gives, built, measured there, and judged on samples that no choice used.

    Any subset of the goals may be given; without one, FOLDER/front.json has the front. Best of what
    reaches them is the fastest where --max-drop is given, else what loses least:
    FOLDER/best.tvmc. Where nothing reaches them the exit status is 1, and the nearest is named.

    Stopped by Ctrl-C, or worse, the same command goes on where it was.

    \b
    Examples:
      tvmcomp search net.onnx --data samples.npz --max-drop 0.5 --budget 2h -o found
      tvmcomp search net.onnx --data samples.npz --eval test.npz --target rpi4 \\
          --device 192.168.1.7:9190 --max-latency 8ms --max-size 2MB -o found
      tvmcomp search --family mobilenets --data samples.npz --eval test.npz -o found
    """
    from tvmcomp.cli.build_progress import BuildProgress
    from tvmcomp.report.search import print_front
    from tvmcomp.search.family import search_family
    from tvmcomp.search.search import search

    if (model is None) == (family is None):
        raise click.UsageError("Give a MODEL, or a --family of them.")

    def run(progress: Progress | None, tell: Callable[[Event], None]) -> Front:
        searching: Callable[..., Front] = search if family is None else search_family
        return searching(
            family or model,
            output,
            data,
            eval=evaluation,
            labels=labels,
            metric=cast("Metric | None", metric),  # click.Choice checked it
            max_drop=max_drop,
            max_latency=max_latency,
            max_size=max_size,
            max_memory=max_memory,
            budget=budget,
            seed=seed,
            target=target,
            device=device,
            builders=builders,
            progress=progress,
            tell=tell,
            command=shlex.join(typed_line(click.get_current_context())),
            **binding_arguments(bindings),
        )

    try:
        if as_json:
            front = run(None, _print_line)
            _print_line(front)
        else:
            with BuildProgress(err) as progress:
                front = run(progress, lambda event: err.print(plain(event.text), soft_wrap=True))
            print_front(front, output, out)
    except KeyboardInterrupt:
        err.print("Stopped. What was measured is kept; the same command goes on from there.")
        sys.exit(1)
    sys.exit(1 if front.reached is False else 0)


def _print_line(document: Event | Front) -> None:
    import msgspec

    sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
    sys.stdout.flush()
