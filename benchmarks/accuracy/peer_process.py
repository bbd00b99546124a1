"""Another quantizer on a case, in a process of its own: see :mod:`benchmarks.accuracy.peers`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.accuracy.cases import Arrays, Case, gathered
from benchmarks.processes import environment


@dataclass(frozen=True)
class PeerRun:
    """What a peer's int8 network gives, and what it takes.

    Attributes:
        outputs: for the evaluation samples.
        milliseconds: the fastest of runs on one thread.
        size: bytes of the file with the weights.
    """

    outputs: Arrays
    milliseconds: float
    size: int


def peer_run(peer: str, case: Case) -> PeerRun:
    """The network that ``peer`` makes of a case's, on the evaluation samples.

    Raises:
        RuntimeError: it makes none; the text says why.
    """
    python = os.environ.get("TVMCOMP_PEERS_PYTHON") or sys.executable
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("calib.npz", "eval.npz", "outputs.npz")]
        np.savez(paths[0], **gathered(case.calibration))
        np.savez(paths[1], **case.inputs)
        command = [python, "-W", "ignore", "-m", "benchmarks.accuracy.peers", peer, str(case.model)]
        done = subprocess.run(
            [*command, *map(str, paths)],
            capture_output=True,
            text=True,
            check=False,
            env=environment(),
        )
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines()
            raise RuntimeError(lines[-1] if lines else f"exit status {done.returncode}")
        with np.load(paths[2], allow_pickle=False) as file:
            outputs = dict(file)
    facts = json.loads(done.stdout.strip().splitlines()[-1])
    return PeerRun(outputs, facts["milliseconds"], facts["bytes"])
