"""Real tuning of small kernels on this machine and over RPC."""

import signal
import subprocess
import sys

import numpy as np
import pytest
from waiting import ended, line_of

from tvmcomp import targets
from tvmcomp.errors import DeviceError
from tvmcomp.targets.fingerprint import local_fingerprint
from tvmcomp.tuning import batches
from tvmcomp.tuning.events import Improved, TaskStarted, TrialDone
from tvmcomp.tuning.interrupts import interrupts_held
from tvmcomp.tuning.jobs import Measured
from tvmcomp.tuning.log.folder import FolderStore
from tvmcomp.tuning.log.places import open_log
from tvmcomp.tuning.log.tuning_log import TuningLog
from tvmcomp.tuning.measure import ROUNDS, Bench
from tvmcomp.tuning.options import TuneOptions
from tvmcomp.tuning.rebuild import apply_record
from tvmcomp.tuning.task import Task, workload_hash
from tvmcomp.tuning.tuner import tune
from tvmcomp.tuning.used_records import UsedRecords
from tvmcomp.tvm_import import tvm


def log_in(folder):
    return TuningLog([FolderStore(folder)])


def trials_in(folder, func):
    return log_in(folder).trials(workload_hash(func), targets.load("native"))


def outputs(schedule, native, *inputs):
    """What the scheduled kernel computes."""
    library = tvm.compile(schedule.mod, target=tvm.target.Target(native.tvm_target_dict()))
    tensors = [tvm.runtime.tensor(array) for array in inputs]
    library["main"](*tensors)
    return tensors[-1].numpy()


def test_tune_a_space_of_our_own(tmp_path, relu, relu_space, native):
    events = []
    task = Task("relu", relu, weight=3)
    summary = tune(
        [task], native, log_in(tmp_path), TuneOptions(8, space=relu_space, progress=events.append)
    )
    (result,) = summary.tasks
    # The plain loops, then each of the three points once: nothing is left to try.
    assert (result.status, result.trials, result.failures) == ("exhausted", 4, {})
    assert result.weight == 3 and 0 < result.incumbent_seconds <= result.baseline_seconds
    assert result.roofline_seconds > 0
    names = [type(event).__name__ for event in events if not isinstance(event, Improved)]
    assert names == [
        *("TuningStarted", "TrialDone", "TaskStarted"),
        *["TrialDone"] * 3,
        *("TaskSummary", "TuneSummary"),
    ]
    # Each trial makes the kernel that was measured, and it computes the right thing.
    x = np.random.default_rng(0).standard_normal((64, 256)).astype("float32")
    trials = trials_in(tmp_path, relu)
    assert {trial.choices.get("length") for trial in trials} == {None, 4, 8, 16}
    for trial in trials:
        y = outputs(apply_record(trial, relu), native, x, np.zeros_like(x))
        np.testing.assert_allclose(y, np.maximum(x * 2 + 1, 0), rtol=1e-6)
    # The second time, under another name, there is nothing to do.
    again = []
    summary = tune(
        [Task("other", relu)],
        native,
        open_log(tmp_path),
        TuneOptions(64, space=relu_space, progress=again.append),
    )
    assert summary.trials == 0 and summary.tasks[0].status == "found"
    assert not any(isinstance(event, TaskStarted | TrialDone) for event in again)


def slow_space(schedule, decide):
    """Three points, all bad: the columns outside, and little vectors."""
    try:
        rows, columns = schedule.get_loops(schedule.get_sblock("y"))
    except tvm.s_tir.ScheduleError:
        return ""
    outer = schedule.split(rows, [None, decide(schedule, "rows", [1, 2, 4], 1)])[0]
    schedule.reorder(columns, outer)
    return "slow"


def vectors(schedule):
    """A good schedule."""
    columns = schedule.get_loops(schedule.get_sblock("y"))[1]
    schedule.vectorize(schedule.split(columns, [None, 16])[1])


@pytest.fixture
def times(monkeypatch):
    """Sets the seconds of baselines and of candidates: all of them run, and no clock decides."""
    run = Bench.race

    def set_times(baseline, candidate):
        def race(bench, groups, rounds=ROUNDS):
            for index, result in run(bench, groups, rounds):
                if isinstance(result, Measured):
                    first, *others = result.run_secs
                    made_up = [(baseline,) * len(first), *((candidate,) * len(o) for o in others)]
                    result = Measured(tuple(made_up), result.device)
                yield index, result

        monkeypatch.setattr(Bench, "race", race)

    return set_times


def test_what_is_no_faster_than_the_baseline_is_never_used(tmp_path, relu, native, times):
    """Each candidate is measured beside the baseline, and a build uses none of them."""
    times(baseline=1e-5, candidate=1.1e-5)
    task = Task("relu", relu)
    summary = tune(
        [task], native, log_in(tmp_path), TuneOptions(9, space=slow_space, apply_baseline=vectors)
    )
    (result,) = summary.tasks
    assert result.status == "exhausted" and result.incumbent_seconds == result.baseline_seconds
    trials = trials_in(tmp_path, relu)
    (first,) = (trial for trial in trials if trial.is_baseline)
    assert not first.baseline_secs
    rest = [trial for trial in trials if not trial.is_baseline]
    assert len(rest) == 3 and not any(trial.confirmed for trial in rest)
    assert all(len(trial.run_secs) == len(trial.baseline_secs) for trial in rest)
    with UsedRecords(log_in(tmp_path), native) as used:
        assert used("relu", relu) is None


def test_what_is_faster_is_confirmed_in_more_rounds_and_used(tmp_path, relu, native, times):
    times(baseline=3e-5, candidate=1e-5)

    def slow(schedule):
        slow_space(schedule, lambda sch, name, candidates, best_guess: best_guess)

    def fast_space(schedule, decide):
        columns = schedule.get_loops(schedule.get_sblock("y"))[1]
        lanes = decide(schedule, "lanes", [8, 16], 8)
        schedule.vectorize(schedule.split(columns, [None, lanes])[1])
        return "fast"

    events = []
    task = Task("relu", relu)
    log = log_in(tmp_path)
    (result,) = tune(
        [task],
        native,
        log,
        TuneOptions(9, space=fast_space, apply_baseline=slow, progress=events.append),
    ).tasks
    assert result.incumbent_seconds == pytest.approx(result.baseline_seconds / 3)
    assert any(isinstance(event, Improved) for event in events)
    confirmed = [trial for trial in trials_in(tmp_path, relu) if trial.confirmed]
    assert confirmed and all(len(trial.run_secs) >= 15 for trial in confirmed)
    with UsedRecords(log, native) as used:
        assert used("relu", relu) is not None
    assert used.used["relu"].record.confirmed


def test_what_computes_something_else_is_never_used(tmp_path, relu, native, times):
    """A schedule that skips half of its work is fast, and wrong."""
    times(baseline=3e-5, candidate=1e-5)

    def slow(schedule):
        slow_space(schedule, lambda sch, name, candidates, best_guess: best_guess)

    def wrong_space(schedule, decide):
        vectors(schedule)
        decide(schedule, "half", [0, 1], 1)
        rows = schedule.get(schedule.get_loops(schedule.get_sblock("y"))[0])
        half = tvm.tirx.For(rows.loop_var, 0, 32, rows.kind, rows.body)
        body = schedule.get(schedule.get_sblock("root"))
        new = tvm.s_tir.SBlock([], [], [], "root", half, annotations=body.annotations)
        schedule.state.replace(schedule.get_sref(schedule.get_sblock("root")), new, {body: new})
        return "wrong"

    log = log_in(tmp_path)
    (result,) = tune(
        [Task("relu", relu)], native, log, TuneOptions(9, space=wrong_space, apply_baseline=slow)
    ).tasks
    assert result.failures == {"wrong result": 1}
    assert result.incumbent_seconds == result.baseline_seconds
    assert any("differs" in (trial.error or "") for trial in trials_in(tmp_path, relu))
    with UsedRecords(log, native) as used:
        assert used("relu", relu) is None


@pytest.mark.slow
def test_an_interrupted_run_keeps_all_and_goes_on(tmp_path, relu, matmul, relu_space, native):
    seen = []

    def interrupt(event):
        if isinstance(event, TrialDone):
            seen.append(event)
            if len(seen) == 4:
                raise KeyboardInterrupt

    tasks = [Task("relu", relu), Task("matmul", matmul)]
    summary = tune(
        tasks, native, log_in(tmp_path), TuneOptions(6, space=relu_space, progress=interrupt)
    )
    assert summary.interrupted
    assert {task.status for task in summary.tasks} == {"interrupted"}
    kept = trials_in(tmp_path, relu) + trials_in(tmp_path, matmul)
    assert len(kept) == 4
    events = []
    again = tune(
        tasks, native, log_in(tmp_path), TuneOptions(6, space=relu_space, progress=events.append)
    )
    assert not again.interrupted and not any(trial.error for trial in kept)
    known = {event.task: event.trials_done for event in events if isinstance(event, TaskStarted)}
    assert sum(known.values()) == 4
    for func, number in ((relu, 4), (matmul, 6)):
        assert len({trial.kernel for trial in trials_in(tmp_path, func)}) == number


def test_candidates_that_do_not_build_are_counted(tmp_path, relu, native):
    def bad(schedule, decide):
        block = schedule.get_sblock("y")
        length = decide(schedule, "length", [4, 8], 4)
        inner = schedule.split(schedule.get_loops(block)[1], [None, length])[1]
        schedule.bind(inner, "threadIdx.x")  # a GPU's thread on a CPU
        return "bad"

    summary = tune([Task("relu", relu)], native, log_in(tmp_path), TuneOptions(8, space=bad))
    (result,) = summary.tasks
    assert result.failures == {"build error": 2} and result.trials == 3
    assert result.incumbent_seconds == result.baseline_seconds
    errors = [trial.error for trial in trials_in(tmp_path, relu) if trial.error]
    assert len(errors) == 2 and all(error.startswith("build error: ") for error in errors)


@pytest.mark.slow
def test_generic_rules_serve_where_no_schedule_is_ours(tmp_path, matmul, relu_space, native, times):
    times(baseline=3e-5, candidate=1e-5)
    task = Task("matmul", matmul)
    summary = tune([task], native, log_in(tmp_path), TuneOptions(17, space=relu_space))
    (result,) = summary.tasks
    assert result.status == "tuned" and result.trials == 17
    assert result.incumbent_seconds < result.baseline_seconds
    with UsedRecords(log_in(tmp_path), native) as used:
        func = used("matmul", matmul)
    generator = np.random.default_rng(0)
    a, b = (generator.standard_normal((64, 64)).astype("float32") for _ in range(2))
    library = tvm.compile(
        tvm.IRModule({"main": func}), target=tvm.target.Target(native.tvm_target_dict())
    )
    tensors = [tvm.runtime.tensor(array) for array in (a, b, np.zeros_like(a))]
    library["main"](*tensors)
    np.testing.assert_allclose(tensors[-1].numpy(), a @ b, rtol=1e-4, atol=1e-4)
    # More trials go on from what is known.
    assert tune([task], native, log_in(tmp_path), TuneOptions(20, space=relu_space)).trials == 3


def test_what_a_search_raises_ends_no_other(tmp_path, relu, matmul, relu_space, native):
    def space(schedule, decide):
        if relu_space(schedule, decide):
            return "relu"
        raise RuntimeError("no idea")

    tasks = [Task("matmul", matmul), Task("relu", relu)]
    broken, other = tune(tasks, native, log_in(tmp_path), TuneOptions(4, space=space)).tasks
    assert broken.status == "failed" and "RuntimeError: no idea" in broken.error
    assert other.status == "tuned" and other.trials == 4


def test_ctrl_c_within_tvm_waits_for_the_end_of_it():
    reached = []
    with pytest.raises(KeyboardInterrupt), interrupts_held():
        signal.raise_signal(signal.SIGINT)
        reached.append(True)
    assert reached


def test_a_budget_ends_the_run_and_the_tasks_stay_open(tmp_path, matmul, relu_space, native):
    task = Task("matmul", matmul)
    summary = tune(
        [task], native, log_in(tmp_path), TuneOptions(None, space=relu_space, budget=0.01)
    )
    # The baseline is measured whatever the budget: it is what all else is compared with.
    assert summary.tasks[0].status == "open" and summary.trials == 1
    assert not log_in(tmp_path).finished(workload_hash(matmul), native, 1, local_fingerprint())


def many_points(schedule, decide):
    """Twenty points, none better than the baseline."""
    rows, columns = schedule.get_loops(schedule.get_sblock("y"))
    outer = schedule.split(rows, [None, decide(schedule, "rows", [1, 2, 4, 8, 16], 1)])[0]
    inner = schedule.split(columns, [None, decide(schedule, "columns", [1, 2, 4, 8], 1)])[0]
    schedule.reorder(inner, outer)
    return "many"


@pytest.mark.slow
@pytest.mark.ci
def test_a_search_settles_and_goes_on_where_time_is_left(tmp_path, relu, native, monkeypatch):
    monkeypatch.setattr(batches, "PATIENCE", 4)
    tasks = [Task("relu", relu)]
    arguments = {"space": many_points, "apply_baseline": vectors}
    (result,) = tune(tasks, native, log_in(tmp_path / "a"), TuneOptions(None, **arguments)).tasks
    assert (result.status, result.trials) == ("settled", 5)
    (result,) = tune(
        tasks, native, log_in(tmp_path / "b"), TuneOptions(None, budget=120, **arguments)
    ).tasks
    assert (result.status, result.trials) == ("exhausted", 21)


@pytest.mark.slow
@pytest.mark.ci
def test_a_search_that_was_about_to_settle_does_so_in_the_next_run(
    tmp_path, relu, native, monkeypatch
):
    monkeypatch.setattr(batches, "PATIENCE", 4)
    done = []

    def interrupt(event):
        done.append(isinstance(event, TrialDone))
        if done[-1] and sum(done) == 5:
            raise KeyboardInterrupt

    log, arguments = log_in(tmp_path), {"space": many_points, "apply_baseline": vectors}
    tasks = [Task("relu", relu)]
    assert tune(tasks, native, log, TuneOptions(None, progress=interrupt, **arguments)).interrupted
    assert not log.finished(workload_hash(relu), native, 1, local_fingerprint())
    (result,) = tune(tasks, native, log, TuneOptions(None, **arguments)).tasks
    assert (result.status, result.trials) == ("settled", 0)


def test_one_kernel_under_two_names_is_tuned_once(tmp_path, relu, relu_space, native):
    tasks = [Task("one", relu, 2), Task("other", relu, 1)]
    summary = tune(tasks, native, log_in(tmp_path), TuneOptions(2, space=relu_space))
    assert summary.trials == 2
    one, other = summary.tasks
    assert (one.task, one.weight, other.task, other.weight) == ("one", 2, "other", 1)
    assert one.incumbent_seconds == other.incumbent_seconds
    assert len({trial.kernel for trial in trials_in(tmp_path, relu)}) == 2


_OUR_SERVER = (
    "from tvmcomp.runtime.remote.serve import listen, serve\n"
    "listener = listen('127.0.0.1', 0)\n"
    "print(listener.getsockname()[1], flush=True)\nserve(listener)\n"
)


@pytest.fixture
def server():
    process = subprocess.Popen(
        [sys.executable, "-c", _OUR_SERVER], stdout=subprocess.PIPE, text=True
    )
    yield f"127.0.0.1:{int(line_of(process.stdout))}"
    process.kill()
    ended(process)


def test_the_log_that_is_written_holds_its_workloads(tmp_path, relu, relu_space, native):
    """Where another one that is read holds them, too."""
    stores = [FolderStore(tmp_path / name) for name in ("own", "other")]
    tune([Task("relu", relu)], native, TuningLog(stores[1:]), TuneOptions(1, space=relu_space))
    tune([Task("relu", relu)], native, TuningLog(stores), TuneOptions(2, space=relu_space))
    assert TuningLog(stores[:1]).definition(workload_hash(relu)) is not None


def test_tune_on_a_device(tmp_path, relu, relu_space, native, server):
    store = log_in(tmp_path)
    summary = tune(
        [Task("relu", relu)], native, store, TuneOptions(3, space=relu_space, device=server)
    )
    (result,) = summary.tasks
    assert (result.status, result.trials, result.failures) == ("tuned", 3, {})
    trials = store.trials(workload_hash(relu), native)
    assert all(trial.device == local_fingerprint() for trial in trials)
    assert all(trial.run_secs for trial in trials) and not summary.faults


def test_a_device_that_does_not_answer_is_a_clear_error(tmp_path, relu, native):
    with pytest.raises(DeviceError, match=r"127\.0\.0\.1:1"):
        tune([Task("relu", relu)], native, log_in(tmp_path), TuneOptions(3, device="127.0.0.1:1"))
    assert not list(tmp_path.iterdir())
