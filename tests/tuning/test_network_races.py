"""Kernels are measured where their network calls them, on this machine."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
from e2e.networks import NetworkWriter

from tvmcomp import frontend, schedules, targets
from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.passes.pipeline import canonical, lower, rescheduled
from tvmcomp.passes.scheduled.schedule import schedulable
from tvmcomp.tuning import network_timing
from tvmcomp.tuning.jobs import WHOLE, Failed, Measured
from tvmcomp.tuning.judge import wins
from tvmcomp.tuning.log.folder import FolderStore
from tvmcomp.tuning.log.record import Workload
from tvmcomp.tuning.log.tuning_log import TuningLog
from tvmcomp.tuning.measure import ROUNDS, Bench
from tvmcomp.tuning.network import baseline_network
from tvmcomp.tuning.network_races import NetworkRaces
from tvmcomp.tuning.options import TuneOptions
from tvmcomp.tuning.races import Kernel
from tvmcomp.tuning.space import Candidate, point
from tvmcomp.tuning.task import Task, arguments_of, module_of, workload_hash
from tvmcomp.tuning.task_search import TaskSearch
from tvmcomp.tuning.tuner import tune
from tvmcomp.tuning.used_records import UsedRecords
from tvmcomp.tvm_import import tvm

HERE = targets.load("native")
SPACE = schedules.design_space(HERE)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Three convolutions: the first writes the border that the second reads."""
    net = NetworkWriter()
    x = net.op("Relu", net.conv("x", (32, 16), (1, 1)))
    x = net.op("Relu", net.conv(x, (32, 32), (3, 3), pads=[1, 1, 1, 1]))
    x = net.conv(x, (32, 32), (3, 3), pads=[1, 1, 1, 1], strides=[2, 2])
    path = tmp_path_factory.mktemp("model") / "net.onnx"
    return frontend.load_model(net.save(path, {"x": (1, 16, 28, 28)}, [x]), {})


@pytest.fixture(scope="module")
def lowered(model):
    return lower(canonical(model.mod), HERE)


@pytest.fixture(scope="module")
def network(lowered, model):
    return baseline_network(lowered, model, HERE)


def tasks_of(lowered):
    return [
        Task(name, lowered.tasks[name], calls)
        for name, calls in lowered.calls.items()
        if schedulable(lowered.tasks[name])
    ]


@pytest.fixture(scope="module")
def searches(lowered):
    made = []
    for task in tasks_of(lowered):
        schedule = tvm.s_tir.Schedule(module_of(task.func))
        schedules.apply_schedule(schedule, HERE)
        workload = Workload(workload_hash(task.func), task.name, arguments_of(task.func))
        baseline = Candidate(schedule, [[], []])
        made.append(TaskSearch(task, (task.name,), workload, baseline, [], roofline_seconds=0.0))
    return made


@pytest.fixture(scope="module")
def races(network, searches):
    with Bench(HERE) as bench:
        races = NetworkRaces(bench, network)
        assert not list(races.prepare(searches))
        yield races


def convolutions(searches):
    return [search for search in searches if point(SPACE, search.task.func) is not None]


def other_points(search, number):
    """Candidates that differ from the baseline."""
    guess = point(SPACE, search.task.func)
    name, values = max(guess.options.items(), key=lambda each: len(each[1]))
    others = [value for value in values if value != guess.choices[name]][:number]
    return [point(SPACE, search.task.func, {**guess.choices, name: value}) for value in others]


def test_other_schedules_make_kernels_of_the_same_names_and_borders(lowered, searches):
    chosen = {search.task.name: other_points(search, 1)[0] for search in convolutions(searches)}
    new = rescheduled(lowered, {name: each.schedule.mod["main"] for name, each in chosen.items()})
    names = {var.name_hint for var in new.functions}
    kernels = lowered.tasks_of_kernels()
    assert names == {kernel for kernel, task in kernels.items() if task in chosen}
    assert any("halo" in name for name in names)
    for var, func in new.functions.items():
        old = lowered.mod[var.name_hint]
        assert [list(p.shape) for p in func.params] == [list(p.shape) for p in old.params]
        assert not tvm_ffi.structural_equal(func, old)


def test_one_pass_measures_candidates_of_every_task(races, searches):
    entries = [(s, each) for s in convolutions(searches) for each in other_points(s, 3)]
    built = dict(races.build(entries))
    assert len(built) == len(entries) and not any(isinstance(k, Failed) for k in built.values())
    # All candidates of a task lie in one library.
    assert len({path for kernel in built.values() for path in kernel.libraries}) == 3
    runners = [(entries[i][0], built[i]) for i in range(len(entries))]
    results = dict(races.race(runners, 3))
    assert len(results) == len(entries)
    for result in results.values():
        baseline, run_secs = result.run_secs
        assert len(baseline) == len(run_secs) and min(*baseline, *run_secs) > 0
        assert len(run_secs) in (3, 6)  # the unsteady ones race twice
    whole = races.whole([built[0]], 3)
    assert [len(times) for times in whole.run_secs] == [3, 3] and min(map(min, whole.run_secs)) > 0
    assert all(len(races.baseline(search).run_secs[0]) == ROUNDS for search in searches)
    races.keep([built[0]])
    assert {path.exists() for path in built[0].libraries} == {True}
    assert not any(path.exists() for path in built[len(entries) - 1].libraries)


def naive(search):
    """A candidate of plain loops on one thread."""
    return Candidate(tvm.s_tir.Schedule(module_of(search.task.func)), [[], []])


@pytest.fixture(scope="module")
def timed(network, tmp_path_factory):
    """The network, loaded as a worker does that measures in it."""
    folder = tmp_path_factory.mktemp("network")
    network.artifact.save(folder / "network.tvmc")
    (folder / "network.so").write_bytes(network.library)
    return network_timing._Network(str(folder / "network.tvmc"), str(folder / "network.so"))


def replaced(races, entries):
    """What a variant of the network is made of that has all of these candidates."""
    built = dict(races.build(entries))
    return {
        name: (str(path), function)
        for kernel in built.values()
        for name, (path, function) in kernel.functions.items()
    }


def test_a_network_with_kernels_replaced_computes_the_same(races, searches, timed):
    x = np.random.default_rng(0).standard_normal((1, 16, 28, 28)).astype("float32")
    entries = [(search, other_points(search, 1)[0]) for search in convolutions(searches)]
    outputs = []
    for each in ({}, replaced(races, entries), {}):
        variant = timed.variant(each)
        seconds = variant.turn(1)
        assert set(seconds) == {*timed.names, WHOLE} and min(seconds.values()) > 0
        called = zip(timed.names, timed._places, strict=True)
        assert set(each) == {n for n, place in called if place.value != timed._addresses[n]}
        outputs += timed._program.run({"x": x}).values()
    want, new, again = outputs
    assert np.array_equal(want, again) and np.ptp(want) > 0
    np.testing.assert_allclose(new, want, rtol=1e-4, atol=1e-4)


def test_a_slower_kernel_loses(races, searches):
    search = convolutions(searches)[1]
    ((_, built),) = races.build([(search, naive(search))])
    ((_, measured),) = races.race([(search, built)], 5)
    baseline, slow = measured.run_secs
    assert wins(baseline, slow) and not wins(slow, baseline)


def test_what_a_variant_was_made_of_is_unmapped(races, searches, timed):
    """The worker loads a library for each candidate that it times in a network."""
    search = convolutions(searches)[0]
    candidate = replaced(races, [(search, other_points(search, 1)[0])])
    paths = {path for path, _ in candidate.values()}

    def mapped():
        return any(path in Path("/proc/self/maps").read_text() for path in paths)

    for _ in range(3):
        variant = timed.variant(candidate)
        variant.turn(1)
        assert mapped()
        del variant
        gc.collect()
        assert not mapped()


def broken(search):
    """A candidate that writes far outside of its tensors."""
    schedule = tvm.s_tir.Schedule(module_of(search.task.func))
    func = schedule.mod["main"]
    crash = tvm.tirx.Evaluate(tvm.tirx.call_extern("int32", "raise", tvm.tirx.IntImm("int32", 11)))
    body = tvm.tirx.SeqStmt([crash, func.body.block.body])
    block = func.body.block
    new = tvm.s_tir.SBlock([], [], [], "root", body, alloc_buffers=block.alloc_buffers)
    schedule.state.replace(schedule.get_sref(schedule.get_sblock("root")), new, {block: new})
    return Candidate(schedule, [[], []])


def test_a_candidate_that_crashes_costs_no_other_its_measurement(races, searches):
    first, second, *_ = convolutions(searches)
    entries = [(first, broken(first)), (second, other_points(second, 1)[0])]
    entries += [(first, other_points(first, 1)[0])]
    built = dict(races.build(entries))
    results = dict(races.race([(entries[i][0], built[i]) for i in range(3)], 2))
    assert isinstance(results[0], Failed) and results[0].kind == "run crash"
    assert isinstance(results[1], Measured) and isinstance(results[2], Measured)


def worst_guess(sch, name, candidates, best_guess):
    return candidates[-1]


def badly(schedule):
    schedules.apply_schedule(schedule, HERE, worst_guess)


def bad_network(model):
    """One whose baselines are bad on purpose."""

    def scheduled(name, func):
        schedule = tvm.s_tir.Schedule(module_of(func))
        badly(schedule)
        return schedule.mod["main"]

    lowered = lower(canonical(model.mod), HERE, tuned=scheduled)
    return lowered, baseline_network(lowered, model, HERE)


@pytest.fixture
def faster_times(monkeypatch):
    """Whatever is run, and it is run: a kernel in place of another takes half of its time."""
    run = Bench.race_in_network

    def made_up(bench, variants, rounds):
        reply = run(bench, variants, rounds)
        if isinstance(reply, Failed):
            return reply
        found = []
        for replaced, times in zip(({}, *variants), reply, strict=True):
            each = {name: 1.0 if name in replaced else 2.0 for name in times if name != WHOLE}
            each[WHOLE] = sum(each.values())
            found.append({name: (seconds,) * rounds for name, seconds in each.items()})
        return tuple(found)

    monkeypatch.setattr(Bench, "race_in_network", made_up)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.usefixtures("faster_times")
def test_a_network_is_tuned_as_a_whole(model, tmp_path):
    """A bad baseline is beaten in the network, and a build knows."""
    log = TuningLog([FolderStore(tmp_path)])
    lowered, network = bad_network(model)
    tasks = tasks_of(lowered)
    arguments = {"space": SPACE, "apply_baseline": badly}
    summary = tune(tasks, HERE, log, TuneOptions(17, network=lambda: network, **arguments))
    assert {task.status for task in summary.tasks} <= {"tuned", "exhausted", "settled"}
    assert summary.tuned_seconds < summary.baseline_seconds and not summary.unchanged
    assert not any(task.failures for task in summary.tasks)
    assert any(task.incumbent_seconds == task.baseline_seconds / 2 for task in summary.tasks)
    with UsedRecords(log, HERE) as used:
        scheduled = [used(task.name, task.func) for task in tasks]
    assert any(func is not None for func in scheduled)
    assert set(used.used) == {task.name for task in tasks}
    again = tune(tasks, HERE, log, TuneOptions(17, network=lambda: 1 / 0, **arguments))
    assert again.trials == 0 and {task.status for task in again.tasks} == {"found"}


CRASH = Failed("run crash", "")


@pytest.mark.usefixtures("faster_times")
@pytest.mark.parametrize(
    ("alone", "together", "unchanged"),
    [
        (Measured(((1.0,), (1.0,))), CRASH, True),
        pytest.param(
            Measured(((1.0,), (1.0,))),
            Measured(((1.0,) * 15, (1.1,) * 15)),
            True,
            marks=pytest.mark.slow,
        ),
        pytest.param(CRASH, CRASH, False, marks=pytest.mark.slow),
    ],
    ids=["crashes", "is slower", "the machine is at fault"],
)
def test_what_fails_together_is_taken_back(
    model, tmp_path, monkeypatch, alone, together, unchanged
):
    """Records that crash or are slower only when all of them are in the network."""
    monkeypatch.setattr(
        NetworkRaces, "whole", lambda _, kernels, rounds: together if kernels else alone
    )
    log = TuningLog([FolderStore(tmp_path)])
    lowered, network = bad_network(model)
    tasks = tasks_of(lowered)
    options = TuneOptions(9, space=SPACE, apply_baseline=badly, network=lambda: network)
    summary = tune(tasks, HERE, log, options)
    assert any(
        trial.confirmed for task in tasks for trial in log.trials(workload_hash(task.func), HERE)
    )
    kept = [task.incumbent_seconds < task.baseline_seconds for task in summary.tasks]
    assert summary.unchanged == unchanged and any(kept) != unchanged
    # An unchanged network has no times of its own: those without tuning are not told twice.
    assert summary.baseline_seconds == (1.0 if unchanged else None)
    assert summary.tuned_seconds is None
    with UsedRecords(log, HERE) as used:
        scheduled = [used(task.name, task.func) for task in tasks]
    assert any(func is not None for func in scheduled) != unchanged


def test_a_candidate_that_the_network_cannot_call_fails_alone(races, searches):
    first, second, *_ = convolutions(searches)
    x = tvm.te.placeholder((8,), name="x")
    other = tvm.te.create_prim_func([x, tvm.te.compute((8,), lambda i: x[i] * 2.0, name="y")])
    misfit = tvm.s_tir.Schedule(module_of(other))
    good = [(first, other_points(first, 1)[0]), (second, other_points(second, 1)[0])]
    entries = [good[0], (first, Candidate(misfit, [[], []])), good[1]]
    built = dict(races.build(entries))
    assert not isinstance(built[0], Failed) and not isinstance(built[2], Failed)
    assert isinstance(built[1], Failed) and built[1].kind == "build error"


def test_what_was_measured_unsteadily_races_again(races, searches, monkeypatch):
    asked = []

    def fake(variants, rounds):
        asked.append(variants)
        jumps = (1.0, 1.0, 2.0, 3.0, 1.0) if len(asked) == 1 else (1.0,) * 5
        times = {name: (1.0,) * 5 for search in searches for name in races._kernels(search)}
        return times, *({**times, **dict.fromkeys(races._kernels(searches[0]), jumps)},) * len(
            variants
        )

    monkeypatch.setattr(races._bench, "race_in_network", fake)
    runners = [(search, Kernel({})) for search in searches[:2]]
    results = dict(races.race(runners, 5))
    assert [len(results[index].run_secs[1]) for index in (0, 1)] == [10, 5]
    assert len(asked) == 2
