"""How many threads kernels run on, and on which cores."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from tvmcomp import arguments
from tvmcomp.errors import ConfigError
from tvmcomp.targets.host import physical_cores

#: ``False``: the system chooses the cores; ``True``: we do; or the cores, one for each thread.
Pin = bool | Sequence[int]


class Threads(msgspec.Struct, frozen=True):
    """What a session runs on.

    Attributes:
        count: of threads, the calling one included.
        cores: one for each thread, the first for the calling one; None where the system chooses.
    """

    count: int
    cores: tuple[int, ...] | None = None


def logical_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def default_threads() -> int:
    """One a physical core: a second thread on a core shares its multipliers."""
    return physical_cores()


def choose_threads(count: int | None, pin: Pin = False) -> Threads:
    """What this machine gives where ``count`` threads are asked for.

    Args:
        count: None is one for each core of ``pin``, or one a physical core.
        pin: True takes the first cores that this process may use.

    Raises:
        ConfigError: there are not so many CPUs, or a core of ``pin`` is not one of them.
    """
    allowed = sorted(os.sched_getaffinity(0))
    cores = None if isinstance(pin, bool) else _cores(pin)
    if count is None:
        count = default_threads() if cores is None else len(cores)
    count = arguments.integer(count, "threads")
    if not 1 <= count <= len(allowed):
        raise ConfigError(f"{count} threads are asked for; this machine offers 1 to {len(allowed)}")
    if pin is True:
        cores = tuple(allowed[:count])
    if cores is not None and (len(set(cores)) != count or not set(cores) <= set(allowed)):
        raise ConfigError(
            f"{count} threads can't be pinned to the cores {list(cores)}",
            hint=f"Name a core for each thread, of {allowed}.",
        )
    return Threads(count, cores)


def asked_threads(count: int | None, pin: Pin) -> tuple[int | None, tuple[int, ...] | None]:
    """How many threads of a device, and on which of its cores, are asked for; None: it chooses.

    Raises:
        ConfigError: ``count`` is less than 1, or ``pin`` does not name a core for each.
    """
    if pin is True:
        raise ConfigError(
            "a device's threads are pinned to cores by number", hint="For example --pin 4,5."
        )
    cores = _cores(pin) if pin else None
    if count is None and cores is not None:
        count = len(cores)
    if count is not None and count < 1:
        raise ConfigError(f"{count} threads are asked for; there must be at least 1")
    if cores is not None and len(cores) != count:
        raise ConfigError(f"{count} threads can't be pinned to the cores {list(cores)}")
    return count, cores


def _cores(pin: Sequence[int]) -> tuple[int, ...]:
    if isinstance(pin, str | bytes | Mapping) or not hasattr(pin, "__len__"):
        raise ConfigError(
            f"pin is {pin!r}", hint="Give True, False, or a list with a core for each thread."
        )
    return tuple(arguments.integer(core, "a core of pin") for core in pin)


@contextmanager
def calling_thread_on(cores: tuple[int, ...] | None) -> Iterator[None]:
    """Bind the calling thread to the first of ``cores`` meanwhile; None leaves it as it is."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores[:1])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
