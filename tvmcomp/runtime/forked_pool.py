"""The thread pool of a process that was forked: its threads are gone, and TVM does not know.

TVM keeps a pool for each calling thread. After a fork the child's one thread has the pool of the
thread that forked, whose workers exist in the parent alone. The next parallel kernel would wait for
them for ever, and so would the end of the process and TVM's own reset, which join them.
So the child forgets them: it makes the pool one that never had a worker. Such a pool runs kernels
in the calling thread, ends at once, and can be reset to have workers again.

TVM has no function for that, so the pool is found by its form where the thread keeps it. What is
read and written is this part of TVM's ``ThreadPool`` (src/runtime/thread_pool.cc)::

    int num_workers_;            number of workers that a reset starts, the calling thread included
    int num_workers_used_;       how many a kernel is split between
    bool exclude_worker0_;
    vector<unique_ptr<SpscTaskQueue>> queues_;      begin, end, end of the allocation
    unique_ptr<ThreadGroup> threads_;
"""

from __future__ import annotations

import ctypes

_LIBRARY = b"libtvm_runtime.so"
_PT_TLS = 7  # from elf.h
_WORD = 8
_MOST_WORKERS = 1 << 16


class Pool(ctypes.Structure):
    """TVM's thread pool, where it lies."""

    _fields_ = (
        ("num_workers", ctypes.c_int32),
        ("num_workers_used", ctypes.c_int32),
        ("exclude_worker0", ctypes.c_uint64),  # a bool and padding
        ("queues_begin", ctypes.c_uint64),
        ("queues_end", ctypes.c_uint64),
        ("queues_capacity", ctypes.c_uint64),
        ("threads", ctypes.c_uint64),
    )


class _ProgramHeader(ctypes.Structure):
    """``Elf64_Phdr``."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("offset", ctypes.c_uint64),
        ("vaddr", ctypes.c_uint64),
        ("paddr", ctypes.c_uint64),
        ("filesz", ctypes.c_uint64),
        ("memsz", ctypes.c_uint64),
        ("align", ctypes.c_uint64),
    )


class _LibraryInfo(ctypes.Structure):
    """``struct dl_phdr_info``."""

    _fields_ = (
        ("addr", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
        ("headers", ctypes.POINTER(_ProgramHeader)),
        ("count", ctypes.c_uint16),
        ("adds", ctypes.c_ulonglong),
        ("subs", ctypes.c_ulonglong),
        ("tls_id", ctypes.c_size_t),
        ("tls_data", ctypes.c_uint64),
    )


_Visit = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(_LibraryInfo), ctypes.c_size_t, ctypes.c_void_p
)


def pool_of_this_thread() -> Pool | None:
    """Where TVM keeps the pool of the calling thread; None where it has none.

    To be asked before the fork: afterwards another thread may have left the loader locked.
    """
    if ctypes.sizeof(ctypes.c_void_p) != _WORD:
        return None
    for begin, size in _thread_locals():
        for address in range(begin, begin + size - ctypes.sizeof(Pool) + 1, _WORD):
            pool = Pool.from_address(address)
            if _is_a_pool(pool):
                return pool
    return None


def forget_workers(pool: Pool) -> None:
    """Make it a pool that never had a worker, in a child where they don't exist."""
    pool.num_workers_used = 1
    pool.queues_begin = pool.queues_end = pool.queues_capacity = pool.threads = 0


def _is_a_pool(pool: Pool) -> bool:
    return (
        1 <= pool.num_workers_used <= pool.num_workers <= _MOST_WORKERS
        and pool.exclude_worker0 & 0xFF <= 1
        and 0 < pool.queues_begin < pool.queues_end <= pool.queues_capacity
        and pool.queues_end - pool.queues_begin == _WORD * pool.num_workers
        and pool.threads > 0
        and (pool.queues_begin | pool.queues_capacity | pool.threads) % _WORD == 0
    )


def _thread_locals() -> list[tuple[int, int]]:
    """Address and size of what TVM's runtime keeps for the calling thread."""
    found: list[tuple[int, int]] = []

    def visit(info: ctypes._Pointer[_LibraryInfo], _size: int, _data: int | None) -> int:
        library = info.contents
        if library.tls_data and library.name and library.name.endswith(_LIBRARY):
            headers = (library.headers[index] for index in range(library.count))
            found.extend((library.tls_data, h.memsz) for h in headers if h.type == _PT_TLS)
        return 0  # go on

    ctypes.CDLL(None).dl_iterate_phdr(_Visit(visit), None)
    return found
