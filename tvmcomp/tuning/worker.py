"""The worker process: ``python -m tvmcomp.tuning.worker FD`` does one job after another.

It imports TVM once, says that it is ready on the connection with descriptor FD, and ends when the
other side closes it. Building and measuring share the program; a tuner starts several to build in
and one to measure in.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import tvmcomp.schedules  # noqa: F401  it adds passes of ours to TVM's code generation
from tvmcomp.artifact.code import Code, pack_code
from tvmcomp.codegen.cuda.single_kernel import gpu_kernel_library
from tvmcomp.codegen.native.kernels import kernel_object
from tvmcomp.codegen.native.link import link_kernels, link_shared
from tvmcomp.codegen.native.single_kernel import single_kernel
from tvmcomp.errors import DeviceError
from tvmcomp.own_process import own_module
from tvmcomp.runtime.buffers import Places
from tvmcomp.runtime.remote.address import parse_address
from tvmcomp.runtime.remote.board import FINGERPRINT, GPU_FINGERPRINT
from tvmcomp.runtime.remote.device import Device, connect
from tvmcomp.runtime.remote.shell.address import is_shell_address
from tvmcomp.runtime.remote.tracker import request_device
from tvmcomp.targets.description import TargetDescription
from tvmcomp.targets.fingerprint import Fingerprint
from tvmcomp.tuning.compare import difference, random_array
from tvmcomp.tuning.gpu_kernels import gpu_machine, gpu_results
from tvmcomp.tuning.jobs import (
    Adopt,
    Build,
    Built,
    Compare,
    Compared,
    Failed,
    Identified,
    Identify,
    Job,
    Lent,
    Measure,
    Measured,
    MeasuredNetwork,
    MeasureNetwork,
    Replay,
    Reply,
)
from tvmcomp.tuning.network_timing import time_in_network
from tvmcomp.tuning.replay import adopt, replay
from tvmcomp.tuning.shell_races import identify_by_shell, results_by_shell, time_by_shell
from tvmcomp.tuning.single_kernels import KernelHere, KernelThere
from tvmcomp.tuning.timing import time_in_turns
from tvmcomp.tvm_import import tvm

READY = b"ready"
#: The argument of a worker that goes on where one of another context was.
_AGAIN = "again"

#: Is told which device a job goes on with.
Tell = Callable[[Lent], None]


def build(job: Build) -> Built:
    """Compile and link on this machine, for whatever machine the job's target is."""
    start = time.monotonic()
    module, path = tvm.ir.load_json(job.module), Path(job.path)
    if job.target.family == "cuda":
        path.write_bytes(gpu_kernel_library(module["main"], job.target, job.linker))
    elif job.form == "kernels":
        kernels = {str(var.name_hint): func for var, func in module.functions.items()}
        code = kernel_object(kernels, job.target, job.in_integers)
        path.write_bytes(link_kernels(code, job.target, job.linker))
    else:
        tensors = [(each.dtype, each.shape) for each in job.arguments]
        func, name = module["main"], path.stem
        alone = single_kernel(func, tensors, job.target, job.in_integers, name)
        if job.form == "code":
            path.write_bytes(pack_code(Code(alone.kernels, alone.driver)))
        else:
            path.write_bytes(link_shared(alone, job.target, job.linker))
    return Built(time.monotonic() - start)


def measure(job: Measure, tell: Tell) -> Measured:
    """Time the kernels here, or on a device in a session of its own."""
    if _has_shell(job.device, tell):
        return Measured(*time_by_shell(job))
    with _board(job, tell) as board:
        times = time_in_turns(job, board)
        gpu = job.target.family == "cuda"
        return Measured(times, None if board is None else _fingerprint(board, str(job.device), gpu))


def compare(job: Compare, tell: Tell) -> Compared:
    """Run both kernels on the same data; what they leave in their tensors must be the same."""
    if _has_shell(job.device, tell):
        return Compared(difference(*results_by_shell(job)))
    arrays = [random_array(argument, seed) for seed, argument in enumerate(job.arguments)]
    results: list[Sequence[np.ndarray]]
    with _board(job, tell) as board:
        if job.target.family == "cuda":
            machine = gpu_machine(board)
            results = [
                gpu_results(path, arrays, machine, job.target) for path in (job.path, job.reference)
            ]
        elif board is None:
            results = [_results_here(path, arrays) for path in (job.path, job.reference)]
        else:
            results = [
                _results_there(path, arrays, board, job.target)
                for path in (job.path, job.reference)
            ]
    return Compared(difference(*results))


def _results_here(path: str, arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    tensors = Places([array.copy() for array in arrays])
    with KernelHere(path) as kernel:
        kernel.time(tensors)
    return tensors.arrays


def _results_there(
    path: str, arrays: Sequence[np.ndarray], board: Device, target: TargetDescription
) -> Sequence[np.ndarray]:
    kernel = KernelThere(path, board, board.set_threads(None).count)
    device, make = board.tvm_device(target), tvm.runtime.tensor
    tensors = [board.call("sending data", make, array, device) for array in arrays]
    kernel.run(tensors)
    return [board.call("reading", tensor.numpy) for tensor in tensors]


def identify(job: Identify, tell: Tell) -> Identified:
    """Ask the device for its fingerprint."""
    if _has_shell(job.device, tell):
        return Identified(identify_by_shell(job))
    with _lent(job.device, job.timeout, tell) as machine:
        return Identified(_fingerprint(machine, job.device, job.gpu))


def _fingerprint(machine: Any, device: str, gpu: bool) -> Fingerprint:
    """The device's fingerprint, or its GPU's; TVM's own server can't tell."""
    ask = machine.function(GPU_FINGERPRINT if gpu else FINGERPRINT)
    if ask is None:
        return Fingerprint(cpu=f"unknown ({device})")
    text = str(machine.call("asking for its fingerprint", ask))
    return msgspec.json.decode(text, type=Fingerprint)


def _board(job: Measure | Compare, tell: Tell) -> AbstractContextManager[Device | None]:
    """The job's device; None for this machine."""
    return nullcontext() if job.device is None else _lent(job.device, job.timeout, tell)


def _has_shell(device: str | None, tell: Tell) -> bool:
    if device is None or not is_shell_address(device):
        return False
    tell(Lent(device))
    return True


def _lent(device: str, seconds: float, tell: Tell) -> Device:
    """A session on the device, or on the board that a tracker lends, of at most ``seconds``."""
    place = parse_address(device)
    if place.key is None:
        tell(Lent(device))
        return connect(device, seconds)
    # Every board of the key has a session asking for it: one may wait for its turn. Errors name
    # the board, and not the tracker that lent it.
    board, match_key = request_device(place, wait=seconds)
    tell(Lent(str(board)))
    return Device(board, match_key, f"{board} of {place}", seconds)


def perform(job: Job, tell: Tell = lambda _: None) -> Reply:
    """Do a job, whatever it is; every exception is a reply, too."""
    try:
        match job:
            case Build():
                return build(job)
            case Measure():
                return measure(job, tell)
            case MeasureNetwork():
                return MeasuredNetwork(time_in_network(job))
            case Compare():
                return compare(job, tell)
            case Replay():
                return replay(job)
            case Adopt():
                return adopt(job)
            case Identify():
                return identify(job, tell)
    except DeviceError as error:
        return Failed("device", str(error).splitlines()[0])
    except Exception as error:  # noqa: BLE001  a candidate may fail in any way
        return Failed("error", _one_line(error))


def _is_on_this_gpu(job: Job) -> bool:
    return isinstance(job, Measure | Compare) and job.device is None and job.target.family == "cuda"


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


def main() -> None:
    """Serve jobs until the tuner goes away."""
    # A worker stuck in a candidate does not see the connection close: the kernel ends it then.
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    connection = Connection(int(sys.argv[1]))
    decoder = msgspec.msgpack.Decoder(Job)
    if _AGAIN not in sys.argv:
        connection.send_bytes(READY)

    def tell(lent: Lent) -> None:
        connection.send_bytes(msgspec.msgpack.encode(lent))

    while True:
        try:
            message = connection.recv_bytes()
        except EOFError:
            return
        job = decoder.decode(message)
        reply = perform(job, tell)
        connection.send_bytes(msgspec.msgpack.encode(reply))
        if isinstance(reply, Failed) and _is_on_this_gpu(job):
            # A fault leaves the process a context in which nothing runs any more. The connection
            # goes on, with what may wait in it already.
            module = own_module("tvmcomp.tuning.worker")
            os.execv(module[0], [*module, str(connection.fileno()), _AGAIN])


if __name__ == "__main__":
    main()
