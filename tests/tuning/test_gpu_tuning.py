"""Kernels for a GPU are tuned with made-up times: all candidates are compiled, and none is run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import msgspec
import pytest

from tvmcomp import targets
from tvmcomp.codegen.cuda import nvcc, nvrtc
from tvmcomp.schedules import Decide
from tvmcomp.targets.fingerprint import Fingerprint
from tvmcomp.tuning import boards, measure, used_records
from tvmcomp.tuning import target_space as target_space_module
from tvmcomp.tuning.jobs import Compare, Compared, Job, Measure, Measured, Reply
from tvmcomp.tuning.kernels import check_tunable
from tvmcomp.tuning.log.folder import FolderStore
from tvmcomp.tuning.log.record import InstructionSet
from tvmcomp.tuning.log.tuning_log import TuningLog
from tvmcomp.tuning.options import TuneOptions
from tvmcomp.tuning.peaks import Peaks
from tvmcomp.tuning.pool import WorkerPool
from tvmcomp.tuning.space import MadeKernel, point
from tvmcomp.tuning.target_space import apply_baseline, target_space
from tvmcomp.tuning.task import Task, workload_hash
from tvmcomp.tuning.tuner import tune
from tvmcomp.tuning.used_records import UsedRecords
from tvmcomp.tvm_import import tvm

H100 = Fingerprint(
    "NVIDIA H100 80GB HBM3", ("sm_90",), 132, "graphics 1980 MHz", "driver 580.65, CUDA 13.0"
)
needs_compiler = pytest.mark.skipif(
    not (nvcc.find_nvcc() or nvrtc.find_nvrtc()), reason="no CUDA compiler on this machine"
)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """A GPU that every second library is twice as fast on; returns what it was asked."""
    asked: list[Job] = []

    def answer(
        _: boards.Boards, jobs: Sequence[Job], session: float
    ) -> Iterator[tuple[int, Reply]]:
        for index, job in enumerate(jobs):
            asked.append(job)
            if isinstance(job, Compare):
                yield index, Compared("")
            else:
                assert isinstance(job, Measure)
                times = tuple((2e-5 / (1 + n),) * job.rounds for n in range(len(job.paths)))
                yield index, Measured(times)

    monkeypatch.setattr(boards.Boards, "measure", answer)
    for module in (boards, measure, used_records):
        monkeypatch.setattr(module, "runs_here", lambda _: None)
    for module in (boards, used_records):
        monkeypatch.setattr(module, "device_fingerprint", lambda _: H100)
    return asked


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A design space of three points: the threads of a block."""

    def schedule_kernel(
        func: Any, target: targets.TargetDescription, decide: Decide
    ) -> tuple[str, Any]:
        number = decide(None, "threads", [32, 64, 128], 32)
        if target.capability < 80 and number > 32:
            raise ValueError("not there")
        schedule = tvm.s_tir.Schedule(func)
        block, thread = schedule.split(
            schedule.fuse(*schedule.get_loops(schedule.get_sblock("y"))), [None, number]
        )
        schedule.bind(block, "blockIdx.x")
        schedule.bind(thread, "threadIdx.x")
        return "threads", schedule.mod["main"]

    monkeypatch.setattr(target_space_module, "schedule_kernel", schedule_kernel)


@needs_compiler
@pytest.mark.usefixtures("threads")
def test_records_of_a_gpu_serve_its_architecture_and_no_other(
    relu: Any, gpu: list[Job], tmp_path: Any
) -> None:
    target = targets.load("h100")
    log = TuningLog([FolderStore(tmp_path)])
    options = TuneOptions(
        9, space=target_space(target), apply_baseline=partial(apply_baseline, target=target)
    )
    summary = tune([Task("relu", relu)], target, log, options)
    (result,) = summary.tasks
    assert result.failures == {}, result.error
    assert (result.status, result.trials) == ("exhausted", 4)
    trials = log.trials(workload_hash(relu), target)
    assert all(trial.device == H100 for trial in trials)
    assert {trial.target.instruction_set.cuda_arch for trial in trials} == {"sm_90"}
    assert all(trial.run_secs and trial.trace == [[], []] for trial in trials)
    assert {trial.choices.get("threads") for trial in trials} == {None, 32, 64, 128}
    # Another build for the same architecture finds them, whatever its host is.
    detected = targets.load("native")
    other_host = {"name": "cuda", "features": detected.features, "cores": 64}
    for same in (target, _with(target, **other_host)):
        with UsedRecords(log, same) as used:
            scheduled = used("relu", relu)
            assert scheduled is not None
            record = used.used["relu"].record
            assert record.confirmed
            assert f"thread_binding({record.choices['threads']}, " in scheduled.script()
    for name in ("a100", "jetson-orin", "rtx4090"):
        with UsedRecords(log, targets.load(name)) as used:
            assert used("relu", relu) is None
            assert not used.used
    # A build uses what the tuner measured: the kernel of the record, made again.
    assert any(isinstance(job, Measure) and len(job.paths) == 2 for job in gpu)


@needs_compiler
@pytest.mark.slow
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("name", ["h100", "jetson-orin", "t4"])
def test_candidates_of_our_own_spaces_compile(name: str, tmp_path: Any) -> None:
    target = targets.load(name)
    options = TuneOptions(
        24, space=target_space(target), apply_baseline=partial(apply_baseline, target=target)
    )
    log = TuningLog([FolderStore(tmp_path)])
    func = product()
    (result,) = tune([Task("product", func)], target, log, options).tasks
    assert (result.trials, result.failures) == (24, {}) or result.status == "exhausted"
    trials = log.trials(workload_hash(func), target)
    assert {trial.space for trial in trials if not trial.is_baseline} == {"gemm"}
    with UsedRecords(log, target) as used:
        assert used("product", func) is not None


def product() -> Any:
    """A product of 16-bit floats that a bias is added to."""
    from tvm import te

    a, b = (te.placeholder((196, 256), "float16", name=name) for name in "ab")
    bias = te.placeholder((196,), "float32", name="bias")
    k = te.reduce_axis((0, 256), name="k")
    total = te.compute(
        (196, 196),
        lambda i, j: te.sum(a[i, k].astype("float32") * b[j, k].astype("float32"), axis=k),
        name="total",
    )
    y = te.compute((196, 196), lambda i, j: te.max(total[i, j] + bias[j], 0.0), name="y")
    return te.create_prim_func([a, b, bias, y])


def test_points_that_can_not_be_are_passed_over(relu: Any, threads: None) -> None:
    space = target_space(targets.load("t4"))
    assert point(space, relu) is not None
    with pytest.raises(tvm.s_tir.ScheduleError, match="not there"):
        point(space, relu, {"threads": 64})


def _with(target: targets.TargetDescription, **changes: Any) -> targets.TargetDescription:
    return msgspec.structs.replace(target, **changes)


def test_the_host_of_a_gpu_is_no_part_of_a_records_instruction_set() -> None:
    orin = targets.load("jetson-orin")
    one = InstructionSet.of(_with(orin, cores=12, features=("dotprod",)))
    assert one == InstructionSet.of(targets.load("jetson-agx-orin"))
    assert one != InstructionSet.of(targets.load("rtx3060"))


def test_a_baseline_is_bound_to_threads(relu: Any) -> None:
    schedule = tvm.s_tir.Schedule(relu)
    made = apply_baseline(schedule, targets.load("h100"))
    assert isinstance(made, MadeKernel)
    assert "threadIdx" in made.mod.script()


def test_a_gpu_that_is_not_here_can_be_tuned_on_a_device_only(tmp_path: Any) -> None:
    log = TuningLog([FolderStore(tmp_path)])
    check_tunable(targets.load("h100"), "board:9090", log)
    with pytest.raises(Exception, match="does not run on this machine"):
        check_tunable(targets.load("h100"), None, log)


def test_a_worker_goes_on_after_a_fault_on_the_gpu() -> None:
    """Without a GPU each measurement fails, and leaves a worker that another can be asked of."""
    job = Measure(("none.so",), (), targets.load("h100"))
    with WorkerPool(1) as pool:
        before = pool.pids
        replies = [reply for _, reply in pool.run([job, job], timeout=120)]
        assert [type(reply).__name__ for reply in replies] == ["Failed", "Failed"]
        assert all("CUDA" in reply.message for reply in replies), replies
        assert pool.pids == before


def test_what_a_gpu_can_do() -> None:
    a100 = targets.load("a100")
    peaks = Peaks(a100)
    assert peaks.multiply_adds("float16") == pytest.approx(156e12)
    assert peaks.multiply_adds("int8") == pytest.approx(312e12)
    assert peaks.bytes() == pytest.approx(1555e9)
    peaks.clock *= 2
    assert peaks.bytes() == pytest.approx(3110e9)
    unknown = Peaks(_with(a100, gpu=type(a100.gpu)(multiprocessors=2)))
    assert 0 < unknown.multiply_adds("float32") < unknown.multiply_adds("int8")
