"""``tvmcomp compare``: one artifact against another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tvmcomp.cli.common import all_option, err, json_option, out, print_json
from tvmcomp.cli.eval import METRICS
from tvmcomp.cli.machine_options import Place, machine_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tvmcomp.artifact.artifact import Artifact
    from tvmcomp.report.compare import Change
    from tvmcomp.runtime.session import Session
    from tvmcomp.runtime.threads import Pin

REQUIREMENTS = ("latency", "size", "memory", "accuracy")


def _parse_required(_ctx: click.Context, _param: click.Parameter, text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    wrong = [name for name in names if name not in REQUIREMENTS]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is none of {', '.join(REQUIREMENTS)}")
    return names


@click.command("compare")
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.argument("original", type=click.Path(path_type=Path), required=False)
@click.option(
    "--eval", "data", metavar="D.npz", type=click.Path(path_type=Path), help="Samples to judge by."
)
@click.option("--metric", type=click.Choice(METRICS), default="top1", show_default=True)
@click.option(
    "--require",
    default="",
    metavar="NAME,…",
    callback=_parse_required,
    help=f"End with status 1 where AFTER is worse in one of these: {', '.join(REQUIREMENTS)}.",
)
@machine_options
@all_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    before: Path,
    after: Path,
    original: Path | None,
    data: Path | None,
    metric: str,
    require: tuple[str, ...],
    place: Place,
    threads: int | None,
    pin: Pin,
    show_all: bool,
    as_json: bool,
) -> None:
    """Compare the artifact AFTER with BEFORE: latency, sizes, memory, accuracy, number formats.

    Latencies are taken in turns, so that what else the machine does slows both. ORIGINAL, an ONNX
    model or another artifact, is what the outputs of both are compared with; top1 and top5 need
    none, but labels. A change counts as better or worse where it is beyond its 95% confidence.

    \b
    Examples:
      tvmcomp compare net-int8.tvmc net-tuned.tvmc --require latency,size
      tvmcomp compare old.tvmc new.tvmc net.onnx --eval test.npz --require accuracy
    """
    from tvmcomp.artifact.artifact import Artifact
    from tvmcomp.cli.float_network import find_float_network
    from tvmcomp.cli.pair import Where, measured_in_turns
    from tvmcomp.report.compare import (
        Comparison,
        format_changes,
        formats_change,
        measured_changes,
        size_changes,
    )
    from tvmcomp.report.remarks import remarks

    if "accuracy" in require and data is None:
        raise click.UsageError("--require accuracy needs --eval SAMPLES.")
    pair = [Artifact.load(before), Artifact.load(after)]
    float_network = find_float_network(pair[0], original)[0] if original else None
    where = Where(place, threads, pin)
    quiet = as_json or not err.is_terminal
    with where.sessions([*pair, *([float_network] if float_network else [])]) as sessions:
        measured = measured_in_turns(sessions[:2], [before, after], where, quiet)
        changes = [
            *size_changes(_sized(pair[0], before), _sized(pair[1], after)),
            *measured_changes(measured),
            *_accuracy(sessions, data, metric, original, quiet),
        ]
    wrong = [
        f"{path}: its outputs differ from its own reference outputs"
        for path, each in ((before, measured.before), (after, measured.after))
        if each.agrees is False
    ]
    notes = [
        f"measured on {measured.after.machine}, {measured.after.threads} threads",
        *remarks({str(before): pair[0], str(after): pair[1]}),
        *wrong,
    ]
    changes.append(formats_change(*pair))
    comparison = Comparison(
        str(before), str(after), tuple(changes), tuple(format_changes(*pair)), tuple(notes)
    )
    worse = comparison.worse_in(require)
    if as_json:
        import msgspec

        print_json({**msgspec.to_builtins(comparison), "required": require, "worse": worse})
    else:
        from tvmcomp.report.compare_table import print_comparison

        print_comparison(comparison, out, show_all=show_all)
    if worse:
        err.print(f"[red]{after} is worse in {', '.join(worse)}[/red]", soft_wrap=True)
    ctx.exit(1 if worse else 0)


def _sized(artifact: Artifact, path: Path) -> tuple[Artifact, int]:
    return artifact, path.stat().st_size


def _accuracy(
    sessions: Sequence[Session], data: Path | None, metric: str, original: Path | None, quiet: bool
) -> list[Change]:
    """What can be said of accuracy with the samples and the original that there are."""
    from tvmcomp.cli.pair import evaluated
    from tvmcomp.report.compare import accuracy_change, likeness_change
    from tvmcomp.runtime.metrics import LABELLED

    before, after, *reference = sessions
    changes = []
    if data is not None and metric in LABELLED:
        changes.append(accuracy_change(evaluated(after, before, data, metric, quiet)))
    if data is not None and (reference or metric not in LABELLED):
        likeness = "sqnr" if metric in LABELLED else metric
        beside = reference[0] if reference else None
        first, second = (evaluated(each, beside, data, likeness, quiet) for each in (before, after))
        name = "the original" if original is None else original.name
        changes.append(likeness_change(first, second, name, decides=metric not in LABELLED))
    return changes
