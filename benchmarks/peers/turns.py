"""Engines side by side: every one in a process of its own, taking turns in blocks."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import processes
from benchmarks.peers.cases import Arrays
from benchmarks.peers.disturbance import Disturbance
from benchmarks.peers.models import peers_python
from benchmarks.zoo.packages import ZooError

#: Threads of an engine go on spinning for a while after its last run: a turn begins when all have
#: been at rest for so long, or after so long at most.
_REST_SECONDS, _MOST_REST_SECONDS = 0.05, 2.0
#: CPU time, as a share of the rest, that counts as none.
_AT_REST = 0.02


@dataclass
class Contestant:
    """An engine at one precision, and what was measured of it.

    Attributes:
        engine, precision: which.
        model: the file it runs.
        version: the engine's.
        blocks: the median milliseconds of each block.
        load_ms: loading and the first run.
        peak_mib: the largest memory that its process had then.
        outputs: what it gave.
        failure: why it could not run.
    """

    engine: str
    precision: str
    model: Path
    version: str = ""
    blocks: list[float] = field(default_factory=list)
    load_ms: float = 0.0
    peak_mib: float = 0.0
    outputs: Arrays = field(default_factory=dict)
    failure: str = ""

    @property
    def ms(self) -> float:
        """The median of the blocks."""
        return float(np.median(self.blocks))

    @property
    def spread(self) -> float:
        """The interquartile range of the blocks, as a share of their median."""
        low, high = np.percentile(self.blocks, [25, 75])
        return float((high - low) / self.ms)


class Engine:
    """The process of a contestant, whose messages go to a file. It ends with the context."""

    def __init__(
        self,
        contestant: Contestant,
        command: list[str],
        environment: dict[str, str],
        messages: Path,
    ) -> None:
        self.contestant = contestant
        self._messages = messages
        with messages.open("w") as file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                env={**processes.environment(), **environment},
            )

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def read(self) -> Any:
        """The next line that it prints, as JSON.

        Raises:
            ZooError: the process has ended; with the last thing it said.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            said = self._messages.read_text().strip().splitlines() or ["it said nothing"]
            raise ZooError(f"ended with {self._process.returncode}: {said[-1]}")
        return json.loads(line)

    def cpu_seconds(self) -> float:
        """What its threads have used so far."""
        total = 0
        for task in Path(f"/proc/{self._process.pid}/task").glob("*"):
            with contextlib.suppress(OSError):  # a thread that ended meanwhile
                total += int((task / "schedstat").read_text().split()[0])
        return total * 1e-9

    def block(self, seconds: float) -> list[float]:
        """Run it for so long; milliseconds of each run."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # read says why
            self._process.stdin.write(f"{seconds}\n")
            self._process.stdin.flush()
        return self.read()


def take_turns(
    contestants: Sequence[Contestant],
    inputs: Arrays,
    threads: int,
    *,
    rounds: int,
    block_seconds: float,
    environment: dict[str, str],
) -> float:
    """Measure the contestants on one input (arrays with the batch axis of 1), filling them in.

    In each round every engine runs one block. One that fails has its `failure` set, and the others
    go on.

    Returns:
        The share of the machine's time that other programs took during the turns.
    """
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        np.savez(folder / "inputs.npz", **inputs)
        running: list[Engine] = []
        for i, contestant in enumerate(contestants):
            if contestant.failure:
                continue
            # One after another: loading is work too, and its time is reported.
            command = _command(contestant, folder, i, threads)
            messages = folder / f"messages{i}.txt"
            engine = stack.enter_context(Engine(contestant, command, environment, messages))
            try:
                ready = engine.read()
            except ZooError as error:
                contestant.failure = str(error)
                continue
            contestant.version = ready["version"]
            contestant.load_ms, contestant.peak_mib = ready["load_ms"], ready["peak_mib"]
            with np.load(folder / f"outputs{i}.npz", allow_pickle=False) as file:
                contestant.outputs = dict(file)
            running.append(engine)
        before = sum(engine.cpu_seconds() for engine in running)
        disturbance = Disturbance()
        for _ in range(rounds):
            for engine in running:
                if engine.contestant.failure:
                    continue
                _wait_for_rest(running)
                try:
                    times = engine.block(block_seconds)
                except ZooError as error:
                    engine.contestant.failure = str(error)
                    continue
                engine.contestant.blocks.append(float(np.median(times)))
        used = sum(engine.cpu_seconds() for engine in running) - before
        return disturbance.share(used)


def _wait_for_rest(engines: Sequence[Engine]) -> None:
    end = time.monotonic() + _MOST_REST_SECONDS
    while time.monotonic() < end:
        before = sum(engine.cpu_seconds() for engine in engines)
        time.sleep(_REST_SECONDS)
        if sum(engine.cpu_seconds() for engine in engines) - before < _AT_REST * _REST_SECONDS:
            return


def _command(contestant: Contestant, folder: Path, index: int, threads: int) -> list[str]:
    python = sys.executable if contestant.engine == "tvmcomp" else peers_python()
    return [
        *(python, "-m", "benchmarks.peers.engines", contestant.engine, str(contestant.model)),
        *(str(folder / "inputs.npz"), str(folder / f"outputs{index}.npz")),
        *("--threads", str(threads), "--precision", contestant.precision),
    ]


def error_share(outputs: Arrays, reference: Arrays) -> float:
    """The root mean square of the difference to the reference, over the reference's deviation; of
    several outputs the worst.

    Outputs are compared in their order: engines name them differently.
    """
    return max(
        _share(mine, theirs)
        for mine, theirs in zip(outputs.values(), reference.values(), strict=True)
    )


def _share(mine: NDArray, theirs: NDArray) -> float:
    theirs = theirs.astype(np.float64)
    noise = np.sqrt(np.mean((mine.reshape(theirs.shape) - theirs) ** 2))
    return float(noise / (np.std(theirs) or 1.0))
