"""Tuning on every board that a tracker lends, while one is killed and another one freezes."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from board import Board, BoardRoot, Tracker

from tvmcomp import targets
from tvmcomp.schedules import Decide
from tvmcomp.tuning import measure
from tvmcomp.tuning.events import Event, TrialDone
from tvmcomp.tuning.log.folder import FolderStore
from tvmcomp.tuning.log.tuning_log import TuningLog
from tvmcomp.tuning.options import TuneOptions
from tvmcomp.tuning.task import Task, workload_hash
from tvmcomp.tuning.tuner import tune
from tvmcomp.tvm_import import tvm

LENGTHS, ROWS = (1, 2, 4, 8), (1, 2, 4)


def space(schedule: tvm.s_tir.Schedule, decide: Decide) -> str:
    rows, columns = schedule.get_loops(schedule.get_sblock("y"))
    rows, _ = schedule.split(rows, [None, decide(schedule, "rows", ROWS, 1)])
    length = decide(schedule, "length", LENGTHS, 4)
    schedule.vectorize(schedule.split(columns, [None, length])[1])
    return "doubled"


def doubled(columns: int) -> tvm.tirx.PrimFunc:
    from tvm import te

    x = te.placeholder((16, columns), name="x")
    y = te.compute((16, columns), lambda i, j: x[i, j] * 2.0, name="y")
    return te.create_prim_func([x, y])


@pytest.mark.slow
@pytest.mark.ci
def test_three_boards_one_killed_and_one_frozen(
    board_root: BoardRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A frozen board is noticed when a session's time is over.
    monkeypatch.setattr(measure, "_LEAST_RUN_SECONDS", 8.0)
    target = targets.load("rpi4")
    tasks = [Task(f"doubled {columns}", doubled(columns)) for columns in (64, 128)]
    log = TuningLog([FolderStore(tmp_path)])
    done = 0
    with (
        Tracker() as tracker,
        Board(tracker=tracker.address, key="arm") as killed,
        Board(tracker=tracker.address, key="arm") as frozen,
        Board(tracker=tracker.address, key="arm") as sound,
    ):

        def tell(event: Event) -> None:
            nonlocal done
            if isinstance(event, TrialDone):
                done += 1
                # The first two are the baselines; from the third on all boards work.
                # A moment later each of them is in the middle of a session again.
                if done == 4:
                    threading.Timer(0.5, frozen.freeze).start()
                if done == 7:
                    threading.Timer(0.5, killed.kill).start()

        address = f"{tracker.address}/arm"
        summary = tune(
            tasks, target, log, TuneOptions(13, device=address, space=space, progress=tell)
        )
        frozen.thaw()
        assert sound.is_alive()
    assert not summary.interrupted
    assert [task.status for task in summary.tasks] == ["tuned", "tuned"]
    for task in tasks:
        trials = log.trials(workload_hash(task.func), target)
        assert len({trial.kernel for trial in trials}) == 13
        assert all(trial.run_secs for trial in trials), [trial.error for trial in trials]
    faulty = " ".join(summary.faults)
    assert str(frozen.port) in faulty and str(killed.port) in faulty
    assert str(sound.port) not in faulty
