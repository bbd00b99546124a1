"""Measure kernels on a board that has a shell: a static program of them is copied there and run.

A program holds the kernels of one job, so that one that crashes or hangs costs no other its
measurement. What a board answers is checked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from tvmcomp.artifact.code import unpack_code
from tvmcomp.codegen.native.race_program import link_race
from tvmcomp.errors import DeviceError
from tvmcomp.runtime.remote.shell.board import Board, open_board
from tvmcomp.targets.fingerprint import Fingerprint, cpu_model
from tvmcomp.temporary_folder import temporary_folder
from tvmcomp.tuning.compare import random_array
from tvmcomp.tuning.jobs import Compare, Identify, Measure
from tvmcomp.tuning.judge import unsteady
from tvmcomp.tuning.timing import SETS, copies_of

_PROGRAM = "race"
_CPUINFO, _KERNEL = "/proc/cpuinfo", "/proc/sys/kernel/osrelease"


def time_by_shell(job: Measure) -> tuple[tuple[tuple[float, ...], ...], Fingerprint]:
    """Seconds of a call of each kernel, one time a round; and of what device."""
    arrays = [random_array(argument, seed) for seed, argument in enumerate(job.arguments)]
    data = b"".join(array.tobytes() for array in arrays)
    copies = copies_of(len(data), job.target)
    columns: list[tuple[float, ...]] = [()] * len(job.paths)
    with _program(job, job.paths) as board:
        for _ in range(SETS):
            numbers = (board.cores, copies, job.rounds, 1000 * job.round_ms)
            text = _run(board, ["time", *map(str, numbers)], data)
            new = _times(text, len(job.paths), job.rounds, board)
            columns = [one + other for one, other in zip(columns, new, strict=True)]
            if not any(unsteady(column, columns[0]) for column in columns[1:]):
                break
        return tuple(columns), fingerprint(board, job.runner)


def results_by_shell(job: Compare) -> list[list[np.ndarray]]:
    """The tensors as each of both kernels leaves them."""
    arrays = [random_array(argument, seed) for seed, argument in enumerate(job.arguments)]
    data = b"".join(array.tobytes() for array in arrays)
    paths = (job.path, job.reference)
    with _program(job, paths) as board:
        output = _run(board, ["run", str(board.cores)], data, most=len(paths) * len(data))
    if len(output) != len(paths) * len(data):
        raise DeviceError("the kernels' program has left bytes out", where=board.where)
    results: list[list[np.ndarray]] = []
    at = 0
    for _ in paths:
        results.append([])
        for array in arrays:
            part = output[at : at + array.nbytes]
            results[-1].append(np.frombuffer(part, array.dtype).reshape(array.shape))
            at += array.nbytes
    return results


def identify_by_shell(job: Identify) -> Fingerprint:
    """The device's fingerprint."""
    with open_board(job.device, job.timeout, runner=job.runner) as board:
        return fingerprint(board, job.runner)


def fingerprint(board: Board, runner: str | None) -> Fingerprint:
    """What tells a board from others: what is emulated there is another device."""
    text = board.read(_CPUINFO).decode(errors="replace")
    cpu = cpu_model(text) or board.machine
    if runner:
        cpu = f"{board.machine} under {runner}"[:200]
    kernel = board.read(_KERNEL).decode(errors="replace").strip()[:200]
    return Fingerprint(cpu=cpu, cores=board.cores, kernel=kernel)


@contextmanager
def _program(job: Measure | Compare, paths: Sequence[str]) -> Iterator[Board]:
    """A board that has the program of some kernels."""
    assert job.device is not None
    names = [Path(path).stem for path in paths]
    codes = {
        name: unpack_code(Path(path).read_bytes(), path)
        for name, path in zip(names, paths, strict=True)
    }
    with temporary_folder("race") as folder:
        made = folder / _PROGRAM
        link_race(codes, names, job.target, made, job.linker)
        with open_board(job.device, job.timeout, runner=job.runner) as board:
            board.put(_PROGRAM, made)
            yield board


def _run(board: Board, arguments: Sequence[str], given: bytes, most: int = 1 << 20) -> bytes:
    done = board.run(_PROGRAM, arguments, given=given, most=most)
    if done.status:
        said = done.errors.strip().splitlines()[-1:] or [f"exit status {done.status}"]
        raise RuntimeError(f"the kernels' program failed on {board.name}: {said[0][:200]}")
    return done.output


def _times(text: bytes, kernels: int, rounds: int, board: Board) -> list[tuple[float, ...]]:
    try:
        found = msgspec.json.decode(text, type=list[tuple[float, ...]])
    except msgspec.DecodeError:
        found = []
    lengths = {len(column) for column in found}
    times = [seconds for column in found for seconds in column]
    fine = all(math.isfinite(seconds) and seconds > 0 for seconds in times)
    if len(found) != kernels or len(lengths) != 1 or not 0 < max(lengths) <= rounds or not fine:
        raise DeviceError("the kernels' program gave no times", where=board.where)
    return found
