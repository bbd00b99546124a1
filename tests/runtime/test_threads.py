"""How many threads a session uses, on which cores, and what another session notices of it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from small_artifacts import ROWS, parallel_artifact, parallel_reference
from waiting import joined

from tvmcomp.errors import ConfigError, DeviceError
from tvmcomp.runtime.session import Session, load
from tvmcomp.runtime.threads import Threads, choose_threads, logical_cpus

CPUS = sorted(os.sched_getaffinity(0))
needs_two_cpus = pytest.mark.skipif(len(CPUS) < 2, reason="one CPU")
RUNS = 10


def sample(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 8, ROWS).astype("float32")


def run_right(session: Session, runs: int = RUNS) -> None:
    """Run, and compare every output."""
    for seed in range(runs):
        x = sample(seed)
        np.testing.assert_array_equal(session.run({"x": x})["y"], parallel_reference(x))


def in_new_thread(work: Callable[[], None]) -> None:
    """Do ``work`` in a thread of its own, so with a thread pool of its own."""
    failure: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  raised again below
            failure.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    joined(thread)
    if failure:
        raise failure[0]


def cpu_seconds() -> dict[int, float]:
    """Of each thread of this process that is there now."""
    seconds = {}
    for folder in Path("/proc/self/task").iterdir():
        try:
            nanoseconds = (folder / "schedstat").read_text().split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue  # It has ended.
        seconds[int(folder.name)] = int(nanoseconds) / 1e9
    return seconds


@contextmanager
def busy_threads() -> Iterator[list[int]]:
    """The threads that did at least a tenth of the work meanwhile."""
    found: list[int] = []
    before = cpu_seconds()
    yield found
    spent = {task: after - before.get(task, 0) for task, after in cpu_seconds().items()}
    found.extend(task for task, seconds in spent.items() if seconds > 0.1 * sum(spent.values()))


def test_one_thread_starts_no_other() -> None:
    session = load(parallel_artifact(), threads=1)

    def work() -> None:
        before = set(cpu_seconds())
        with busy_threads() as busy:
            run_right(session)
        assert set(cpu_seconds()) <= before
        assert busy == [threading.get_native_id()]

    in_new_thread(work)


@needs_two_cpus
def test_as_many_threads_as_asked_for_are_busy() -> None:
    session = load(parallel_artifact(), threads=2)

    def work() -> None:
        run_right(session, 1)  # starts the workers
        with busy_threads() as busy:
            run_right(session)
        assert len(busy) == 2

    in_new_thread(work)


@needs_two_cpus
def test_sessions_in_turns_in_one_thread() -> None:
    one, two = (load(parallel_artifact(), threads=count) for count in (1, 2))

    def work() -> None:
        for session, count in ((one, 1), (two, 2), (one, 1), (two, 2)):
            run_right(session, 1)
            time.sleep(0.05)  # until the workers of the session before sleep
            with busy_threads() as busy:
                run_right(session)
            assert len(busy) == count

    in_new_thread(work)


@needs_two_cpus
def test_sessions_at_the_same_time() -> None:
    one, two = (load(parallel_artifact(), threads=count) for count in (1, 2))
    ready, ran, measured = (threading.Barrier(3) for _ in range(3))
    failures: list[BaseException] = []

    def work(session: Session) -> None:
        try:
            run_right(session, 1)
            ready.wait(30)
            run_right(session)
        except BaseException as error:  # noqa: BLE001  reported below
            failures.append(error)
        ran.wait(30)
        measured.wait(30)  # a thread that ends takes its workers with it

    workers = [threading.Thread(target=work, args=(session,)) for session in (one, two)]
    for worker in workers:
        worker.start()
    with busy_threads() as busy:
        ready.wait(30)
        ran.wait(30)
    measured.wait(30)
    joined(*workers)
    assert failures == []
    assert len(busy) == 3


def test_one_session_from_several_threads() -> None:
    session = load(parallel_artifact(), threads=min(2, logical_cpus()))
    failures: list[int] = []

    def work(seed: int) -> None:
        x = sample(seed)
        for _ in range(RUNS):
            if not np.array_equal(session.run({"x": x})["y"], parallel_reference(x)):
                failures.append(seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    joined(*workers)
    assert failures == []


@needs_two_cpus
def test_idle_workers_sleep() -> None:
    """TVM's own setting keeps them spinning for 180 ms, to the cost of other sessions."""
    session = load(parallel_artifact(), threads=2)

    def work() -> None:
        run_right(session)
        time.sleep(0.02)
        before = cpu_seconds()
        time.sleep(0.1)
        spent = {task: after - before[task] for task, after in cpu_seconds().items()}
        mine = threading.get_native_id()
        assert max((s for task, s in spent.items() if task > mine), default=0) < 0.01

    in_new_thread(work)


@needs_two_cpus
def test_pinned_threads() -> None:
    cores = CPUS[1::-1]  # the second one for the calling thread
    before = set(cpu_seconds())
    pinned = load(parallel_artifact(), pin=cores)
    (worker,) = set(cpu_seconds()) - before
    free = load(parallel_artifact(), threads=2)
    (other,) = set(cpu_seconds()) - before - {worker}
    assert (pinned.threads, pinned.cores) == (2, tuple(cores))
    assert free.cores is None

    def work() -> None:
        mine = threading.get_native_id()
        seen = set()

        def watch() -> None:
            while not done.is_set():
                seen.add(tuple(sorted(os.sched_getaffinity(mine))))

        done = threading.Event()
        watcher = threading.Thread(target=watch)
        run_right(pinned, 1)
        watcher.start()
        run_right(pinned)
        done.set()
        joined(watcher)
        assert os.sched_getaffinity(worker) == {cores[1]}
        assert seen <= {(cores[0],), tuple(CPUS)}
        assert (cores[0],) in seen
        assert sorted(os.sched_getaffinity(0)) == CPUS
        run_right(free, 1)
        assert sorted(os.sched_getaffinity(other)) == CPUS
        assert sorted(os.sched_getaffinity(0)) == CPUS

    in_new_thread(work)
    pinned.close()
    free.close()
    assert set(cpu_seconds()) <= before  # with the sessions


def test_a_pinned_thread_alone() -> None:
    session = load(parallel_artifact(), threads=1, pin=True)
    assert session.cores == (CPUS[0],)
    run_right(session)
    assert sorted(os.sched_getaffinity(0)) == CPUS


def test_an_error_leaves_the_calling_thread_free() -> None:
    session = load(parallel_artifact(), threads=1, pin=True)
    session.close()
    with pytest.raises(DeviceError, match="closed"):
        session.run({"x": sample(0)})
    assert sorted(os.sched_getaffinity(0)) == CPUS


@pytest.mark.parametrize("threads", [0, -1, logical_cpus() + 1])
def test_impossible_threads(threads: int) -> None:
    with pytest.raises(ConfigError, match=f"{threads} threads"):
        load(parallel_artifact(), threads=threads)


@pytest.mark.parametrize(
    ("threads", "pin"),
    [(1, [CPUS[-1] + 1]), (1, []), (1, CPUS[:2] if len(CPUS) > 1 else []), (None, [CPUS[0]] * 2)],
)
def test_impossible_cores(threads: int | None, pin: list[int]) -> None:
    with pytest.raises(ConfigError):
        choose_threads(threads, pin)


def test_chosen_threads() -> None:
    assert choose_threads(1) == Threads(1)
    assert choose_threads(None, [CPUS[-1]]) == Threads(1, (CPUS[-1],))
    every = choose_threads(len(CPUS), True)
    assert every == Threads(len(CPUS), tuple(CPUS))
