"""``search``: a trained network and goals in; a folder with the best network and the front out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvmcomp import arguments, targets
from tvmcomp.compress import require_packages
from tvmcomp.errors import ConfigError
from tvmcomp.frontend import ModelSource
from tvmcomp.one_at_a_time import one_at_a_time
from tvmcomp.progress import NoProgress, Progress
from tvmcomp.runtime.metrics import Metric
from tvmcomp.search.events import Event, Said
from tvmcomp.search.folder import FRONT, copied, fronts_of_others, read_front, write_document
from tvmcomp.search.goals import Goals, goals_of
from tvmcomp.search.outcome import Front

if TYPE_CHECKING:
    from tvmcomp.search.making import Maker

DEFAULT_BUDGET = 1800.0
#: Less leaves nothing to try.
_LEAST_BUDGET = 10.0


def search(
    model: ModelSource,
    output: str | os.PathLike[str],
    data: Any,
    *,
    eval: Any = None,
    labels: Any = None,
    metric: Metric | None = None,
    max_drop: float | None = None,
    max_latency: float | str | None = None,
    max_size: float | str | None = None,
    max_memory: float | str | None = None,
    budget: float | str = DEFAULT_BUDGET,
    seed: int = 0,
    target: str | os.PathLike[str] = "native",
    device: str | None = None,
    builders: str | None = None,
    progress: Progress | None = None,
    tell: Callable[[Event], None] | None = None,
    command: str = "",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    dims: Mapping[str, int] | None = None,
    fixed: Mapping[str, Any] | None = None,
    signature: str | None = None,
) -> Front:
    """Search for the network that reaches goals on a device.

    Args:
        model: as of :func:`tvmcomp.build`; a file, as the commands that make a point again name it.
        output: the search's folder; a search that was stopped goes on from what is in it.
        data: samples of what the network will see; see :func:`tvmcomp.compress`.
        eval: labelled samples: a third chooses among networks, the rest judges.
        labels, metric: as of :func:`tvmcomp.compress`.
        max_drop: points that the score may lose.
        max_latency: median latency on the device: ``8ms``, or a number of ms.
        max_size: of the artifact: ``2MB``, or a number of bytes.
        max_memory: of the process that runs it: ``6MB``, or a number of bytes.
        budget: what the search may take: seconds, or a text like ``2h``.
        seed: of everything that is drawn.
        target: what is built for.
        device: where it is measured; None is this machine.
        builders: a Ray cluster that makes several networks at once: ``ray``, or its address.
        progress: is told of each stage.
        tell: is told of each network that was measured.
        command: what a person typed to search, for the front; empty where nobody did.
        shapes, dims, fixed, signature: as of :func:`tvmcomp.build`.

    Raises:
        TvmcompError: something that was given does not do, or the device failed; what was measured
            till then is kept.
    """
    goals = goals_of(max_drop, max_latency, max_size, max_memory)
    seconds = arguments.duration(budget, "budget")
    if seconds < _LEAST_BUDGET:
        raise ConfigError(f"a budget of {seconds:g} s is too short; give at least 10s")
    seed = arguments.integer(seed, "seed", 0, 2**32 - 1)
    path = arguments.path(output, "output")
    description = targets.load(arguments.path(target, "target"))
    if device is None and (reason := targets.runs_here(description)):
        raise ConfigError(
            f"the target {description.name} can't be measured here: {reason}",
            hint="Give the --device to measure on.",
        )
    require_packages()
    from tvmcomp.search.prepare import prepared
    from tvmcomp.search.timing import machine_of

    with machine_of(device):
        pass  # one that does not answer is told of before the work, not after
    progress = progress or NoProgress()
    told = tell or (lambda event: None)
    binding = {"shapes": shapes, "dims": dims, "fixed": fixed, "signature": signature}
    progress.stage("reading")
    maker = prepared(
        model, path, data, eval, labels, metric, seed, os.fspath(target), device, progress, binding,
        builders,
    )  # fmt: skip
    with one_at_a_time(path, "-o"):
        return _found(maker, goals, seconds, told, command)


def _found(
    maker: Maker, goals: Goals, seconds: float, told: Callable[[Event], None], command: str
) -> Front:
    """Search, from what an earlier run left in the folder."""
    from tvmcomp.search.searching import Search

    folder = maker.folder
    earlier = read_front(folder.path, Front)
    spent = max(folder.seconds, earlier.spent_seconds if earlier else 0.0)
    notes = [*maker.data.notes]
    if goals.max_drop is not None and (few := maker.judging.too_few(goals.max_drop)):
        notes.append(few)
        told(Said(few))
    course = Search(maker, goals, seconds, spent, told, notes, command)
    if earlier is not None:
        course.restore(earlier)
    course.others = [*fronts_of_others(folder, Front)]
    front = course.run()
    keep_best(front, folder.path)
    shutil.rmtree(folder.path / "work", ignore_errors=True)
    return front


def keep_best(front: Front, path: Path) -> None:
    """Write a finished search's front, and its best network beside it.

    Args:
        front: it.
        path: the search's folder.
    """
    chosen = front.point(front.best)
    for name in (chosen.onnx, chosen.artifact) if chosen else ():
        copied(path / name, path / f"best{Path(name).suffix}")
    write_document(path / FRONT, front)
