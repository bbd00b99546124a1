"""Import ``tvm_ffi``, the interface to TVM's libraries, the cheap way. Nothing imports it bare.

``tvm_ffi`` imports torch whenever it is installed (2 to 3 s, 200 MB); here it finds none, unless
the program has imported torch itself. Whoever comes here also gets our settings of TVM's thread
pool, which it reads from the environment when it starts a thread.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

#: How often an idle worker looks for work before it sleeps: about 2 ms here, which bridges the gaps
#: between kernels and between runs. TVM's own 300,000 keep every worker's core busy for 180 ms
#: after each run, to the cost of whatever else would run there, and are no faster.
_SPIN_COUNT = 5000


@contextmanager
def without_torch() -> Iterator[None]:
    """Let what is imported meanwhile find no torch."""
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["torch"]


# On x86 TVM's thread pool would have half of the cores that it sees, whatever they are.
os.environ.setdefault("TVM_NUM_THREADS", str(len(os.sched_getaffinity(0))))
os.environ.setdefault("TVM_THREAD_POOL_SPIN_COUNT", str(_SPIN_COUNT))

with without_torch():
    import tvm_ffi

__all__ = ["tvm_ffi", "without_torch"]
