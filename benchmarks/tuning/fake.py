"""A tuner whose measurements are made up and take no time.

    python -m benchmarks.tuning.fake LOG

It prints its events as ``tvmcomp tune --json`` does, and is made to be killed.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tvmcomp import targets
from tvmcomp.errors import LogError
from tvmcomp.schedules import Decide
from tvmcomp.targets.fingerprint import local_fingerprint
from tvmcomp.tuning import batches, tuner
from tvmcomp.tuning.events import Event
from tvmcomp.tuning.jobs import Failed, Measured
from tvmcomp.tuning.log.places import open_log
from tvmcomp.tuning.measure import Group
from tvmcomp.tuning.options import TuneOptions
from tvmcomp.tuning.task import Task

#: Kernels, and points of each one's design space.
TASKS, LENGTHS, ROWS = 12, (1, 2, 4, 8, 16, 32, 64, 128), (1, 2, 4, 8, 16, 32, 64)
POINTS = 2 * 2 * len(LENGTHS) * len(ROWS)


class FakeBench:
    """Builds nothing, and makes times up; one candidate in ten fails."""

    def __init__(self, *_: object) -> None:
        self.fingerprint = local_fingerprint()
        self.boards = self
        self._baselines_built = False

    def report(self) -> dict[str, int]:
        """The boards have no faults."""
        return {}

    def __enter__(self) -> FakeBench:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def build(self, modules: Sequence[str]) -> Iterator[tuple[int, Path | Failed]]:
        """A library for each; the baselines come first, and do not fail."""
        may_fail, self._baselines_built = self._baselines_built, True
        for index in range(len(modules)):
            if may_fail and random.random() < 0.1:
                yield index, Failed("build error", "made up")
            else:
                yield index, FakePath()

    def race(
        self,
        groups: Sequence[Group],
        rounds: int = 5,
    ) -> Iterator[tuple[int, Measured]]:
        """Times between 0.1 and 0.2 ms."""
        for index, group in enumerate(groups):
            time.sleep(0.002)
            times = [
                tuple(random.uniform(1e-4, 2e-4) for _ in range(rounds)) for _ in group.libraries
            ]
            yield index, Measured(tuple(times))

    def differences(self, pairs: Sequence[object]) -> list[str]:
        """All compute the same."""
        return [""] * len(pairs)


class FakePath(type(Path())):
    """A library that is not there."""

    def unlink(self, missing_ok: bool = False) -> None:
        """It is gone already."""


def kernel(number: int) -> Any:
    """Doubles a matrix; each number is another workload."""
    from tvm import te

    x = te.placeholder((128, 128 + 128 * number), name="x")
    return te.create_prim_func([x, te.compute(x.shape, lambda i, j: x[i, j] * 2.0, name="y")])


def space(schedule: Any, decide: Decide) -> str:
    """POINTS points."""
    rows, columns = schedule.get_loops(schedule.get_sblock("y"))
    lane = schedule.split(columns, [None, decide(schedule, "length", LENGTHS, 8)])[1]
    outer = schedule.split(rows, [None, decide(schedule, "rows", ROWS, 1)])[0]
    if decide(schedule, "vectorized", [0, 1], 1):
        schedule.annotate(lane, "made_up", 1)
    if decide(schedule, "parallel", [0, 1], 1):
        schedule.parallel(outer)
    return "fake"


def main(log: str) -> None:
    """Tune until nothing is left to try."""
    tuner.Bench = FakeBench
    batches.PATIENCE = 10**9
    tasks = [Task(f"kernel {number}", kernel(number)) for number in range(TASKS)]

    def tell(event: Event) -> None:
        print(msgspec.json.encode(event).decode(), flush=True)

    try:
        options = TuneOptions(space=space, progress=tell, seed=1)
        tuner.tune(tasks, targets.load("native"), open_log(log), options)
    except LogError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1])
