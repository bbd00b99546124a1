"""``tvmcomp report``: one HTML file that shows an artifact, two, or a search."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from tvmcomp.cli.common import RecordingCommand, err, json_option, out, print_json, typed_line
from tvmcomp.cli.eval import METRICS
from tvmcomp.cli.machine_options import Place, machine_options
from tvmcomp.fitted import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tvmcomp.cli.pair import Where
    from tvmcomp.report.html.assemble import Evidence, Subject
    from tvmcomp.report.html.front import SearchFile
    from tvmcomp.runtime.threads import Pin


@click.command("report", cls=RecordingCommand)
@click.argument("subjects", metavar="ARTIFACT|FOLDER [AFTER]", nargs=-1, required=True,
                type=click.Path(path_type=Path))  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="[default: the subject's name .html]"
)
@click.option(
    "--eval", "data", metavar="D.npz", type=click.Path(path_type=Path), help="Samples to judge by."
)
@click.option("--metric", type=click.Choice(METRICS), default="top1", show_default=True)
@click.option(
    "--measure/--no-measure",
    default=True,
    show_default=True,
    help="Run it, here or on --device; without, the report says what the files know.",
)
@machine_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    subjects: tuple[Path, ...],
    output: Path | None,
    data: Path | None,
    metric: str,
    measure: bool,
    place: Place,
    threads: int | None,
    pin: Pin,
    as_json: bool,
) -> None:
    """Write a report of an artifact, of two (before and after), or of a search's folder.

    It is one HTML file that needs no network: latency and where it goes, what was decided for each
    operator and why, the network as a graph, roofline, how samples were used, and the commands that
    make it again. A quantized artifact whose model file is still there is shown beside its float
    build.

    \b
    Examples:
      tvmcomp report net.tvmc --eval test.npz -o net.html
      tvmcomp report before.tvmc after.tvmc -o change.html
      tvmcomp report search-folder -o search.html
    """
    from tvmcomp.cli.pair import Where
    from tvmcomp.errors import ConfigError
    from tvmcomp.replaced_file import replaced_file
    from tvmcomp.report.html.assemble import report_of
    from tvmcomp.report.html.document import Command
    from tvmcomp.report.html.page import page

    if len(subjects) > 2:
        raise click.UsageError("give one artifact, two, or a search's folder")
    if data is not None and not measure:
        raise click.UsageError("--eval runs the network; leave out --no-measure")
    written = output or Path(f"{subjects[-1].name.removesuffix('.tvmc')}.html")
    if not written.parent.is_dir():
        raise ConfigError(f"there is no folder {written.parent}", hint="Make it, or change -o.")
    where = Where(place, threads, pin)
    quiet = as_json or not err.is_terminal
    with tempfile.TemporaryDirectory(prefix="tvmcomp-") as folder:
        search, before, after = _subjects(subjects, measure, where, Path(folder))
        evidence = None
        if measure and after is not None:
            evidence = _evidence(before, after, data, metric, where, quiet)
        report = report_of(
            after,
            before,
            evidence,
            search,
            [Command("This report was made by", shlex.join(typed_line(ctx)))],
        )
    try:
        with replaced_file(written) as file:
            file.write_text(page(report), encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"can't be written: {reason}", where=str(written)) from None
    if as_json:
        print_json({"output": str(written), **msgspec.to_builtins(report)})
        return
    for sentence in report.summary:
        out.print(printable(sentence), soft_wrap=True, markup=False)
    size = written.stat().st_size / 2**20
    out.print(f"wrote {written}, {size:.2f} MiB", soft_wrap=True, markup=False)


def _subjects(
    paths: Sequence[Path], measure: bool, where: Where, folder: Path
) -> tuple[SearchFile | None, Subject | None, Subject | None]:
    """The search, the artifact before and the one after, as far as there are any.

    Args:
        paths: what the command was given.
        measure: whether artifacts are to be run; then a quantized one gets its float build before.
        where: they run.
        folder: to write that to.
    """
    from tvmcomp.report.html.front import artifact_of, read_search

    if paths[-1].is_dir():
        if len(paths) > 1:
            raise click.UsageError("a search's folder stands alone")
        search = read_search(paths[0])
        chosen = artifact_of(search.chosen, paths[0])
        original = artifact_of(search.point(search.original), paths[0])
        after = None if chosen is None else _subject(chosen, measure, where)
        if after is not None and search.chosen is not None:
            after = msgspec.structs.replace(after, name=search.chosen.name)
        if after is None or original in (None, chosen):
            return search, None, after
        before = _subject(original, measure, where)
        return search, msgspec.structs.replace(before, name="the original"), after
    artifacts = [_subject(path, measure, where) for path in paths]
    if len(artifacts) == 2:
        return None, artifacts[0], artifacts[1]
    after = artifacts[0]
    return None, _float_build(after, folder) if measure else None, after


def _subject(path: Path, measure: bool, where: Where) -> Subject:
    """An artifact, which can be run where it is to be."""
    from tvmcomp.artifact.artifact import Artifact
    from tvmcomp.errors import ConfigError
    from tvmcomp.report.html.assemble import Subject
    from tvmcomp.targets import runs_here

    artifact = Artifact.load(path)
    target = artifact.metadata.target
    reason = runs_here(target) if measure and where.place.device is None else None
    if reason is not None:
        raise ConfigError(
            f"{path} was built for {target.name} and can't run on this machine: {reason}",
            hint="Say with --device where it runs, or measure nothing with --no-measure.",
        )
    return Subject(path.name, artifact, path)


def _float_build(subject: Subject, folder: Path) -> Subject | None:
    """The float network of a quantized artifact whose model is still there."""
    from tvmcomp.cli.float_network import find_float_network
    from tvmcomp.errors import TvmcompError
    from tvmcomp.report.html.assemble import Subject

    try:
        with err.status("building the float network to compare with"):
            found, remark = find_float_network(subject.artifact, None)
    except TvmcompError as error:
        found, remark = None, f"no float network to compare with: {error}"
    if found is None:
        err.print(remark, soft_wrap=True, markup=False)
        return None
    path = folder / "float.tvmc"
    found.save(path)
    return Subject("the float network", found, path)


def _evidence(
    before: Subject | None,
    after: Subject,
    data: Path | None,
    metric: str,
    where: Where,
    quiet: bool,
) -> Evidence:
    """Measure what the report shows."""
    from tvmcomp.cli.pair import evaluated, measured_alone, measured_in_turns
    from tvmcomp.report.compare import accuracy_change, measured_changes, size_changes
    from tvmcomp.report.html.assemble import Evidence, alone_changes

    subjects = [after] if before is None else [before, after]
    with where.sessions([each.artifact for each in subjects]) as sessions:
        pair = measured = evaluation = None
        if before is None:
            measured = measured_alone(sessions[0], after.path, where)
        else:
            pair = measured_in_turns(sessions, [each.path for each in subjects], where, quiet)
        if data is not None:
            beside = None if before is None else sessions[0]
            evaluation = evaluated(sessions[-1], beside, data, metric, quiet)
    evidence = Evidence(measured, pair, evaluation, str(data or ""), (), where.place.device is None)
    if before is None or pair is None:
        changes = list(alone_changes(after, evidence))
    else:
        sizes = [(each.artifact, each.nbytes) for each in subjects]
        changes = [*size_changes(*sizes), *measured_changes(pair)]
        if evaluation is not None and evaluation.difference is not None:
            changes.append(accuracy_change(evaluation))
    return msgspec.structs.replace(evidence, changes=tuple(changes))
