"""What `compare` and `report` share: open two artifacts where they are to run, and measure them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rich.progress import Progress, track

from tvmcomp.cli.common import err
from tvmcomp.cli.machine_options import Place, machine_for

if TYPE_CHECKING:
    from tvmcomp.artifact.artifact import Artifact
    from tvmcomp.report.measured import Measured, MeasuredPair
    from tvmcomp.runtime.evaluate import Evaluation, Metric
    from tvmcomp.runtime.session import Session
    from tvmcomp.runtime.threads import Pin


@dataclass(frozen=True)
class Where:
    """Where artifacts run.

    Attributes:
        place: this machine or a device.
        threads, pin: as the options of those names.
    """

    place: Place
    threads: int | None
    pin: Pin

    def options(self) -> list[str]:
        """The same as options of another command."""
        place = self.place
        options = [] if place.device is None else ["--device", place.device]
        options += ["--timeout", str(place.timeout)]
        options += [] if place.runner is None else ["--runner", place.runner]
        options += [] if place.remote_dir is None else ["--remote-dir", place.remote_dir]
        options += [] if self.threads is None else ["--threads", str(self.threads)]
        if self.pin:
            cores = "auto" if self.pin is True else ",".join(map(str, self.pin))
            options += ["--pin", cores]
        return options

    @contextmanager
    def sessions(self, artifacts: Sequence[Artifact]) -> Iterator[list[Session]]:
        """All of them, loaded there."""
        from tvmcomp.runtime.session import load_on

        with ExitStack() as stack:
            machine = stack.enter_context(machine_for(self.place))
            yield [
                stack.enter_context(load_on(machine, each, self.threads, self.pin))
                for each in artifacts
            ]


def measured_alone(session: Session, path: Path, where: Where) -> Measured:
    """Measure one artifact, whose file is ``path``."""
    from tvmcomp.report.measured import measure

    with err.status("measuring"):
        return measure(session, path, where.options())


def measured_in_turns(
    sessions: Sequence[Session], paths: Sequence[Path], where: Where, quiet: bool
) -> MeasuredPair:
    """Measure two artifacts in turns.

    Args:
        sessions: both.
        paths: their files.
        where: they run.
        quiet: show no progress.
    """
    from tvmcomp.report.measured import ROUNDS, measure_pair

    with Progress(console=err, transient=True, disable=quiet) as progress:
        task = progress.add_task("measuring in turns", total=ROUNDS)
        return measure_pair(
            (sessions[0], sessions[1]),
            (paths[0], paths[1]),
            where.options(),
            lambda: progress.advance(task),
        )


def evaluated(
    session: Session, beside: Session | None, data: Path, metric: str, quiet: bool
) -> Evaluation:
    """Evaluate a network on samples, beside another.

    Raises:
        InputError: the two have other inputs or outputs, or the samples don't do.
    """
    from tvmcomp.errors import InputError
    from tvmcomp.runtime.evaluate import evaluate, read_dataset

    if beside is not None and beside.signature != session.signature:
        raise InputError("the networks have other inputs or outputs, and can't share samples")

    def progress(samples: Iterable[int]) -> Iterable[int]:
        return track(samples, "evaluating", console=err, transient=True, disable=quiet)

    dataset = read_dataset(data, session.signature)
    return evaluate(session, dataset, cast("Metric", metric), beside, progress=progress)
