"""What a process keeps of sessions that are loaded, run and closed, again and again.

A service that loads a network for each request lives for months: whatever a cycle leaves behind
grows for as long. The figure is the growth of the resident memory from the first hundred cycles,
which fill what is kept for good, to the last one.

Example: python -m benchmarks.peers.cycles demo/mnist-float32.tvmc --cycles 10000
"""

from __future__ import annotations

import argparse
import gc
import os
import threading
from pathlib import Path

import numpy as np

import tvmcomp
from tvmcomp.artifact.artifact import Artifact
from tvmcomp.runtime.example_inputs import example_inputs

_WARM_UP = 100
_REPORTS = 10


def resident_mib() -> float:
    """Resident memory of this process, without what only waits for Python to collect it: ctypes and
    NumPy leave some cycles of objects with each library and each file.
    """
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def mappings() -> int:
    """Mappings of this process; the kernel allows 65,530."""
    return len(Path("/proc/self/maps").read_text().splitlines())


def cycle(path: Path, threads: int, wanted: dict[str, np.ndarray] | None) -> dict[str, np.ndarray]:
    """Load, run, close; and compare with what the first cycle gave."""
    artifact = Artifact.load(path)
    with tvmcomp.load(artifact, threads=threads) as session:
        outputs = session.run(example_inputs(artifact))
    if wanted is not None and any(not np.array_equal(outputs[k], wanted[k]) for k in wanted):
        raise SystemExit("a cycle gave other outputs than the first one")
    return outputs


def main() -> None:
    """Print the growth, and check eight threads on two sessions."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--cycles", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    wanted = cycle(chosen.artifact, chosen.threads, None)
    for _ in range(_WARM_UP):
        cycle(chosen.artifact, chosen.threads, wanted)
    begin, begin_mappings = resident_mib(), mappings()
    for number in range(1, chosen.cycles + 1):
        cycle(chosen.artifact, chosen.threads, wanted)
        if number % max(1, chosen.cycles // _REPORTS) == 0:
            print(
                f"{number:6d} cycles: {resident_mib():.1f} MiB, {resident_mib() - begin:+.2f} MiB; "
                f"{mappings() - begin_mappings:+d} mappings",
                flush=True,
            )
    _threads_on_two_sessions(chosen.artifact, wanted)


def _threads_on_two_sessions(path: Path, wanted: dict[str, np.ndarray]) -> None:
    artifact = Artifact.load(path)
    inputs = example_inputs(artifact)
    sessions = [tvmcomp.load(artifact, threads=threads) for threads in (1, 2)]
    right: list[bool] = []

    def work(number: int) -> None:
        for _ in range(100):
            outputs = sessions[number % 2].run(inputs)
            right.append(all(np.array_equal(outputs[name], wanted[name]) for name in wanted))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(f"8 threads on two sessions: {sum(right)} of {len(right)} runs gave the same outputs")


if __name__ == "__main__":
    main()
