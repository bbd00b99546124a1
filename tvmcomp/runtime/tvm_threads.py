"""The threads that TVM's runtime runs kernels on: it keeps one pool for each calling thread.

So what runs in TVM's virtual machine runs in the thread that calls it, and a thread that goes from
one network to another sets its pool anew. Pools of two calling threads know nothing of each other.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tvmcomp.errors import DeviceError
from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.runtime.forked_pool import Pool, forget_workers, pool_of_this_thread
from tvmcomp.runtime.threads import Threads, calling_thread_on
from tvmcomp.runtime.tvm_runtime import runtime_library

#: TVM's names of what to bind a pool's workers to.
AFFINITY_BIG_CORES = 1
AFFINITY_ONE_CORE_EACH = -2
AFFINITY_SHARED_CORES = -3

_pool = threading.local()


def use_threads(threads: Threads) -> None:
    """Let kernels called from this Python thread run on ``threads``.

    The calling thread's own cores are left as they are: see :func:`running_on`.
    """
    if getattr(_pool, "threads", None) is threads:
        return
    if threads.count == 1:
        # Then TVM runs a parallel loop in the calling thread, and starts no other.
        runtime_library()._ZN3tvm7runtime9threading17SetMaxConcurrencyEi(1)
    else:
        _configure_pool(threads)
    _pool.threads = threads


def _configure_pool(threads: Threads) -> None:
    library = runtime_library()
    if getattr(_pool, "lost", False):
        raise DeviceError(
            "a fork of a process that ran on several threads can't start them anew",
            where="this machine",
            hint="Run with threads=1, or start processes by `spawn` (multiprocessing's "
            'set_start_method("spawn")).',
        )
    if getattr(_pool, "forked", False):
        library._ZN3tvm7runtime9threading15ResetThreadPoolEv()  # starts workers
        _pool.forked = False
    allowed = os.sched_getaffinity(0)
    # TVM's pool is created with a worker for each CPU named here, and can't grow later. Who is
    # named last is idle.
    cores = threads.cores or ()
    cpus = [str(cpu) for cpu in (*cores, *sorted(allowed - set(cores)))]
    mode = AFFINITY_SHARED_CORES if threads.cores is None else AFFINITY_ONE_CORE_EACH
    configure = tvm_ffi.get_global_func("runtime.config_threadpool")
    try:
        configure(mode, threads.count, cpus)
    finally:
        os.sched_setaffinity(0, allowed)  # TVM bound the calling thread too, which is not ours


def _before_fork() -> None:
    _pool.at_fork = pool_of_this_thread()


def _after_fork() -> None:
    """The pool of the child's one thread has lost its workers: see :mod:`forked_pool`."""
    pool: Pool | None = _pool.at_fork
    had_workers = getattr(_pool, "threads", None) is not None and _pool.threads.count > 1
    if pool is not None:
        forget_workers(pool)
    _pool.threads = None
    _pool.forked = pool is not None
    _pool.lost = had_workers and pool is None


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)


@contextmanager
def running_on(threads: Threads) -> Iterator[None]:
    """:func:`use_threads`, and bind the calling thread to the first of the cores meanwhile."""
    use_threads(threads)
    with calling_thread_on(threads.cores):
        yield
