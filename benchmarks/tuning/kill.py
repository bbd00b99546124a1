#!/usr/bin/env python3
"""Kill -9 a tuner at random moments: is every finished record kept, and does the next run go on?

Its measurements are made up (fake.py), so that nearly all of its time goes into the log.

    python -m benchmarks.tuning.kill --kills 100
    python -m benchmarks.tuning.kill --kills 20 --store log.db --tuners 2
    python -m benchmarks.tuning.kill --kills 20 --disk-kib 256
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

from benchmarks.processes import environment
from benchmarks.tuning.fake import POINTS, TASKS
from tvmcomp.tuning.log.places import open_store

#: A tuner lives so long after one of these events, at most: a slow machine has no trial for long
#: after the first one.
_LIFE_SECONDS = 0.4
_BEGINNINGS = ("tuning_started", "trial_done")


@dataclass
class Outcome:
    """What became of the runs.

    Attributes:
        kills: runs that were killed before they ended.
        told: trials that the tuners said were finished.
        kept: trials that the store holds in the end.
        reported: lines that the store could not read, torn ones.
        full: runs that ended because the disk was full.
        finished: tasks whose search ended.
    """

    kills: int = 0
    told: int = 0
    kept: int = 0
    reported: int = 0
    full: int = 0
    finished: int = 0
    faults: list[str] = field(default_factory=list)


def torture(store: Path, kills: int, tuners: int = 1, seed: int = 0, end: bool = True) -> Outcome:
    """Start ``tuners`` at a time on one store and kill them, ``kills`` times.

    Args:
        store: a folder, or a SQLite file by its name.
        kills: how many processes are killed.
        tuners: how many run at once.
        seed: of the moments.
        end: let a last one come to its end.
    """
    outcome = Outcome()
    rng = random.Random(seed)
    while outcome.kills + outcome.full < kills and outcome.finished < TASKS:
        processes = [_start(store) for _ in range(tuners)]
        for process in processes:
            event = rng.choice(_BEGINNINGS)
            _let_live(outcome, process, event, rng.uniform(0, _LIFE_SECONDS))
        for process in processes:
            process.kill()
            _take_in(outcome, process)
        before = outcome.kept
        _look(outcome, store)
        if outcome.kept < before:
            outcome.faults.append(f"{before - outcome.kept} records are gone")
    if end:
        _take_in(outcome, _start(store))
        _look(outcome, store)
    return outcome


def _start(store: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.tuning.fake", str(store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def _let_live(outcome: Outcome, process: subprocess.Popen[str], event: str, seconds: float) -> None:
    """Wait for an event, and so many seconds more: TVM's import is not what is tried here."""
    assert process.stdout is not None
    for line in process.stdout:
        said = json.loads(line)["event"]
        outcome.told += said == "trial_done"
        if said == event:
            break
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def _take_in(outcome: Outcome, process: subprocess.Popen[str]) -> None:
    """Count what a run said before it ended."""
    assert process.stdout is not None and process.stderr is not None
    with process:  # communicate() would miss what was read ahead
        said, errors = process.stdout.read(), process.stderr.read()
    for line in said.splitlines():
        with contextlib.suppress(json.JSONDecodeError):  # the last one, cut off
            outcome.told += json.loads(line)["event"] == "trial_done"
    if process.returncode == -9:
        outcome.kills += 1
    elif process.returncode == 2 and "space left" in errors:
        outcome.full += 1
    elif process.returncode != 0:
        outcome.faults.append(errors.strip()[-500:] or "no message")


def _look(outcome: Outcome, location: Path) -> None:
    """Read the whole store anew."""
    store = open_store(location)
    entries = [entry for bucket in store.buckets() for entry in store.read(bucket)]
    for entry in entries:
        entry.check()
    kinds = Counter(entry.summary.type for entry in entries)
    outcome.reported = len(store.problems)
    store.close()
    # More than was told: what is measured again to be confirmed is told of once.
    outcome.kept = kinds["trial"]
    outcome.finished = kinds["finished"]


@contextlib.contextmanager
def small_disk(kib: int) -> Iterator[Path]:
    """A file system of so many KiB; needs root."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", folder]
        if subprocess.run(mount, capture_output=True).returncode:
            raise OSError("mount failed")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


@click.command()
@click.option("--kills", default=100, show_default=True)
@click.option("--tuners", default=1, show_default=True, help="At once, on one store.")
@click.option("--store", default="log", show_default=True, help="A folder, or a name with .db.")
@click.option("--disk-kib", type=int, help="On a file system of this size; needs root.")
@click.option("--seed", default=0, show_default=True)
def main(kills: int, tuners: int, store: str, disk_kib: int | None, seed: int) -> None:
    """Kill tuners, and say what was lost."""
    start = time.monotonic()
    place = small_disk(disk_kib) if disk_kib else tempfile.TemporaryDirectory()
    with place as folder:
        outcome = torture(Path(folder, store), kills, tuners, seed)
    click.echo(
        f"{outcome.kills} kills in {time.monotonic() - start:.0f} s; {outcome.told} trials were "
        f"told, {outcome.kept} are kept, {outcome.reported} torn lines were reported, "
        f"{outcome.full} runs ended at a full disk; {outcome.finished} of {TASKS} searches "
        f"({TASKS * POINTS} points) came to their end"
    )
    for fault in outcome.faults:
        click.echo(f"fault: {fault}")
    if outcome.faults or outcome.kept < outcome.told or (outcome.finished < TASKS and not disk_kib):
        sys.exit(1)


if __name__ == "__main__":
    main()
