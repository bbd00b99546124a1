"""Real tuning of small kernels on this machine and over RPC."""

import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from tvmcomp import targets
from tvmcomp.errors import DeviceError
from tvmcomp.tuning.events import TaskStarted, TrialDone
from tvmcomp.tuning.log.folder import FolderStore
from tvmcomp.tuning.log.places import open_log
from tvmcomp.tuning.log.tuning_log import TuningLog
from tvmcomp.tuning.task import Task, workload_hash
from tvmcomp.tuning.trace import apply_record
from tvmcomp.tuning.tuner import tune
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
    summary = tune([task], native, 8, log_in(tmp_path), space=relu_space, progress=events.append)
    (result,) = summary.tasks
    # The plain loops, then each of the three points once: nothing is left to try.
    assert (result.status, result.trials, result.failures) == ("exhausted", 4, {})
    assert result.weight == 3 and 0 < result.best_seconds <= result.untuned_seconds
    assert Counter(type(event).__name__ for event in events) == {
        "TuningStarted": 1,
        "TaskStarted": 1,
        "TrialDone": 4,
        "TaskSummary": 1,
        "TuneSummary": 1,
    }
    # A record makes the kernel that was measured, and it computes the right thing.
    store = log_in(tmp_path)
    record = store.best(workload_hash(relu), native).record
    assert record.seconds == result.best_seconds and len(record.run_secs) == 5
    x = np.random.default_rng(0).standard_normal((64, 256)).astype("float32")
    for trial in store.trials(workload_hash(relu), native):
        y = outputs(apply_record(trial, relu), native, x, np.zeros_like(x))
        np.testing.assert_allclose(y, np.maximum(x * 2 + 1, 0), rtol=1e-6)
    # The second time, under another name, there is nothing to do.
    again = []
    summary = tune(
        [Task("other", relu)],
        native,
        64,
        open_log(tmp_path),
        space=relu_space,
        progress=again.append,
    )
    assert summary.trials == 0 and summary.tasks[0].status == "found"
    assert summary.tasks[0].best_seconds == result.best_seconds
    assert not any(isinstance(event, TaskStarted | TrialDone) for event in again)


def test_the_untuned_schedule_is_measured_first_and_kept(tmp_path, relu, relu_space, native):
    def fast(schedule):
        return relu_space(schedule)

    def slow(schedule):
        """The plain loops, with the columns outside."""
        rows, columns = schedule.get_loops(schedule.get_sblock("y"))
        schedule.sample_categorical([1, 2], [0.5, 0.5])
        schedule.reorder(columns, rows)
        return True

    tune([Task("relu", relu)], native, 3, log_in(tmp_path), space=slow, untuned=fast)
    trials = trials_in(tmp_path, relu)
    assert [trial.untuned for trial in trials] == [True, False, False]
    best = log_in(tmp_path).best(workload_hash(relu), native)
    assert best.record == min(trials, key=lambda trial: trial.seconds)


def test_an_interrupted_run_keeps_all_and_goes_on(tmp_path, relu, matmul, relu_space, native):
    trials_seen = []

    def interrupt(event):
        if isinstance(event, TrialDone):
            trials_seen.append(event)
            if len(trials_seen) == 2:
                raise KeyboardInterrupt

    tasks = [Task("relu", relu), Task("matmul", matmul)]
    summary = tune(tasks, native, 3, log_in(tmp_path), space=relu_space, progress=interrupt)
    assert summary.interrupted
    assert [task.status for task in summary.tasks] == ["interrupted", "pending"]
    kept = len(trials_in(tmp_path, relu))
    assert kept == 2
    started = []
    summary = tune(
        tasks[:1], native, 4, log_in(tmp_path), space=relu_space, progress=started.append
    )
    assert started[1].trials_done == kept
    traces = [json.dumps(trial.trace) for trial in trials_in(tmp_path, relu)]
    assert len(traces) == 4 == len(set(traces))
    assert summary.tasks[0].trials == 4 - kept and not summary.interrupted


def test_candidates_that_do_not_build_are_counted(tmp_path, relu, native):
    def bad(schedule):
        block = schedule.get_sblock("y")
        length = schedule.sample_categorical([4, 8], [0.5, 0.5])
        inner = schedule.split(schedule.get_loops(block)[1], [None, length])[1]
        schedule.bind(inner, "threadIdx.x")  # a GPU's thread on a CPU
        return True

    summary = tune([Task("relu", relu)], native, 8, log_in(tmp_path), space=bad)
    (result,) = summary.tasks
    assert result.failures == {"build error": 2} and result.trials == 3
    assert result.best_seconds == result.untuned_seconds
    errors = [trial.error for trial in trials_in(tmp_path, relu) if trial.error]
    assert len(errors) == 2 and all(error.startswith("build error: ") for error in errors)


def test_generic_rules_serve_where_no_schedule_is_ours(tmp_path, matmul, relu_space, native):
    task = Task("matmul", matmul)
    summary = tune([task], native, 6, log_in(tmp_path), space=relu_space)
    (result,) = summary.tasks
    assert result.status == "tuned" and result.trials == 6
    store = log_in(tmp_path)
    record = store.best(workload_hash(matmul), native).record
    assert not record.untuned and record.seconds < result.untuned_seconds
    generator = np.random.default_rng(0)
    a, b = (generator.standard_normal((64, 64)).astype("float32") for _ in range(2))
    c = outputs(apply_record(record, matmul), native, a, b, np.zeros_like(a))
    np.testing.assert_allclose(c, a @ b, rtol=1e-4, atol=1e-4)
    # More trials go on from what is known.
    summary = tune([task], native, 8, log_in(tmp_path), space=relu_space)
    assert summary.tasks[0].trials == 2
    traces = [json.dumps(trial.trace) for trial in trials_in(tmp_path, matmul)]
    assert len(traces) == 8 == len(set(traces))


_OUR_SERVER = (
    "from tvmcomp.runtime.serve import listen, serve\n"
    "listener = listen('127.0.0.1', 0)\n"
    "print(listener.getsockname()[1], flush=True)\nserve(listener)\n"
)


@pytest.fixture
def server():
    process = subprocess.Popen(
        [sys.executable, "-c", _OUR_SERVER], stdout=subprocess.PIPE, text=True
    )
    yield f"127.0.0.1:{int(process.stdout.readline())}"
    process.kill()
    process.wait()


def test_tune_on_a_device(tmp_path, relu, relu_space, native, server):
    store = log_in(tmp_path)
    summary = tune([Task("relu", relu)], native, 3, store, space=relu_space, device=server)
    (result,) = summary.tasks
    assert (result.status, result.trials, result.failures) == ("tuned", 3, {})
    record = store.best(workload_hash(relu), native).record
    assert record.seconds == result.best_seconds and record.device.cpu


def test_a_device_that_does_not_answer_is_a_clear_error(tmp_path, relu, native):
    with pytest.raises(DeviceError, match=r"127\.0\.0\.1:1"):
        tune([Task("relu", relu)], native, 3, log_in(tmp_path), device="127.0.0.1:1")
    assert not list(tmp_path.iterdir())
