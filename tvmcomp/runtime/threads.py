"""How many threads TVM's thread pool runs, on this machine."""

from __future__ import annotations

import os
import threading

import psutil

from tvmcomp.errors import ConfigError
from tvmcomp.tvm_import import tvm

#: TVM calls it kBig: prefer the fast cores of a processor that has two kinds.
AFFINITY_BIG_CORES = 1
_configured = threading.local()


def logical_cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads() -> int:
    """One a physical core: a second thread on a core shares its multipliers."""
    return max(1, min(psutil.cpu_count(logical=False) or 1, logical_cpus()))


def check_threads(threads: int | None) -> int:
    """The number of threads to use, the default for None.

    Raises:
        ConfigError: it is less than 1 or more than this process may use.
    """
    if threads is None:
        return default_threads()
    if not 1 <= threads <= logical_cpus():
        raise ConfigError(
            f"{threads} threads are asked for; this machine offers 1 to {logical_cpus()}"
        )
    return threads


def use_threads(threads: int) -> None:
    """Let kernels called from this Python thread run on ``threads`` threads.

    TVM keeps one pool a calling thread, and fixes its largest size when the pool is first used:
    half of the CPUs on x86, whether they are hyper-threads or not, unless the environment says
    otherwise.
    """
    if getattr(_configured, "threads", None) == threads:
        return
    os.environ.setdefault("TVM_NUM_THREADS", str(logical_cpus()))
    tvm.get_global_func("runtime.config_threadpool")(AFFINITY_BIG_CORES, threads)
    _configured.threads = threads
