"""Kernels are measured on a board that has but a shell: sshd, and QEMU as the runner."""

from __future__ import annotations

from pathlib import Path

import pytest
from emulated import emulator
from small_artifacts import ARM, HERE
from ssh_server import SshServer

from tvmcomp.schedules import Decide
from tvmcomp.tuning.jobs import Build, Built, Compare, Compared, Failed, Measure, Measured
from tvmcomp.tuning.judge import wins
from tvmcomp.tuning.log.folder import FolderStore
from tvmcomp.tuning.log.tuning_log import TuningLog
from tvmcomp.tuning.options import TuneOptions
from tvmcomp.tuning.task import Task, arguments_of, module_of, workload_hash
from tvmcomp.tuning.tuner import tune
from tvmcomp.tuning.worker import perform
from tvmcomp.tvm_import import tvm


@pytest.fixture(autouse=True)
def on_the_path(sshd: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(sshd.bin), prepend=":")


def sums(factor: float = 1.0) -> tvm.tirx.PrimFunc:
    """Sums of the columns of a matrix: in columns a tenth as fast as in rows."""
    from tvm import te

    x = te.placeholder((256, 2048), name="x")
    k = te.reduce_axis((0, 256), name="k")
    y = te.compute((2048,), lambda j: te.sum(x[k, j] * factor, k), name="y")
    return te.create_prim_func([x, y])


def in_rows(schedule: tvm.s_tir.Schedule, decide: Decide) -> str:
    column, row = schedule.get_loops(schedule.get_sblock("y"))
    lanes = decide(schedule, "lanes", [16, 64], 16)
    outer, inner = schedule.split(column, [None, lanes])
    schedule.reorder(outer, row, inner)
    schedule.decompose_reduction(schedule.get_sblock("y"), row)
    return "rows"


def built(path: Path, func: tvm.tirx.PrimFunc, fast: bool = False) -> str:
    schedule = tvm.s_tir.Schedule(module_of(func))
    if fast:
        in_rows(schedule, lambda *given: given[-1])
    text = str(tvm.ir.save_json(schedule.mod))
    made = perform(Build(text, HERE, None, str(path), form="code", arguments=arguments_of(func)))
    assert isinstance(made, Built), made
    return str(path)


def crashing() -> tvm.tirx.PrimFunc:
    """Of the arguments of :func:`sums`."""
    from tvm import te

    x = te.placeholder((256, 2048), name="x")
    stop = tvm.tirx.call_extern("float32", "abort")
    return te.create_prim_func([x, te.compute((2048,), lambda j: x[0, j] + stop, name="y")])


def test_kernels_are_timed_and_compared_there(sshd: SshServer, tmp_path: Path) -> None:
    func, place = sums(), sshd.address
    fast, slow = built(tmp_path / "fast", func, True), built(tmp_path / "slow", func)
    measured = perform(Measure((fast, slow), arguments_of(func), HERE, place, rounds=7))
    assert isinstance(measured, Measured), measured
    assert wins(*measured.run_secs) and not wins(*reversed(measured.run_secs))
    assert measured.device is not None and measured.device.cpu and measured.device.cores > 0
    assert perform(Compare(fast, slow, arguments_of(func), HERE, place)) == Compared("")
    other = built(tmp_path / "other", sums(2.0))
    compared = perform(Compare(other, slow, arguments_of(func), HERE, place))
    assert isinstance(compared, Compared) and "tensor 1 differs" in compared.difference
    broken = built(tmp_path / "broken", crashing())
    failed = perform(Measure((slow, broken), arguments_of(func), HERE, place))
    assert isinstance(failed, Failed) and failed.kind == "error" and "failed on" in failed.message


@pytest.mark.slow
@pytest.mark.ci
def test_tuning_for_another_processor(sshd: SshServer, tmp_path: Path) -> None:
    qemu = emulator(ARM.triple)
    log, func = TuningLog([FolderStore(tmp_path / "log")]), sums()
    options = TuneOptions(3, device=sshd.address, space=in_rows, runner=qemu)
    summary = tune([Task("sums", func)], ARM, log, options)
    (result,) = summary.tasks
    assert (result.trials, result.failures, summary.faults) == (3, {}, {})
    trials = log.trials(workload_hash(func), ARM)
    assert trials and all(qemu in trial.device.cpu for trial in trials)
    assert {trial.runtime for trial in trials} == {"tvmcomp"}
