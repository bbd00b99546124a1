"""What the tuner asks of a worker process, and what comes back. Sent as msgpack, never pickled."""

from __future__ import annotations

from typing import Literal

import msgspec

from tvmcomp.targets.description import TargetDescription
from tvmcomp.targets.fingerprint import Fingerprint
from tvmcomp.tuning.log.record import Argument, Workload

#: What becomes of a module, see :class:`Build`.
Form = Literal["network", "code", "kernels"]


class Build(msgspec.Struct, frozen=True, tag=True):
    """Compile and link scheduled kernels.

    Attributes:
        module: the IRModule, as ``tvm.ir.save_json`` writes it.
        target: what it is compiled for.
        linker: the linker's command line of ``--linker``, or None for the target's own.
        in_integers: see :func:`tvmcomp.codegen.code_target.code_target`.
        path: where it goes.
        form: ``network``: a library of the module's ``main`` as a network of its own, which runs
            here and over TVM's RPC; ``code``: the same, not linked, for a program of several;
            ``kernels``: a library of kernels alone, for a network that has variables for them.
        arguments: the tensors that ``main`` takes, where it becomes a network.
    """

    module: str
    target: TargetDescription
    linker: str | None
    path: str
    in_integers: bool = False
    form: Form = "network"
    arguments: tuple[Argument, ...] = ()


class Measure(msgspec.Struct, frozen=True, tag=True):
    """Time built networks of one kernel on the same random data, in turns: each once a round.

    Attributes:
        paths: the shared libraries.
        arguments: the tensors that they take.
        target: what it was compiled for.
        device: ``HOST:PORT``, ``TRACKER:PORT/KEY``, ``ssh://…`` or ``adb://…``; None for this
            machine.
        timeout: seconds after which the session on a device ends, whatever happened here.
        rounds: how many; as many again where they disagree.
        round_ms: a time is the mean of as many calls as take this long.
        linker: as of :class:`Build`; for a device with a shell, whose programs are linked last.
        runner: what is put before programs on such a device.
    """

    paths: tuple[str, ...]
    arguments: tuple[Argument, ...]
    target: TargetDescription
    device: str | None = None
    timeout: float = 60.0
    rounds: int = 5
    round_ms: int = 10
    linker: str | None = None
    runner: str | None = None


#: Among the times of a network's kernels, that of the whole.
WHOLE = ""


class MeasureNetwork(msgspec.Struct, frozen=True, tag=True):
    """Time the kernels of a network and of variants of it on this machine, in turns.

    Attributes:
        network: path of the artifact, whose library has a variable for each kernel.
        kernels: path of the library of its kernels.
        variants: of each the kernels that are replaced, by (library, function).
        rounds: how many.
        round_ms: each round runs a variant for about so long, and twice at least.
    """

    network: str
    kernels: str
    variants: tuple[dict[str, tuple[str, str]], ...]
    rounds: int
    round_ms: int = 20


class Compare(msgspec.Struct, frozen=True, tag=True):
    """Run two built networks of one kernel on the same random data.

    Attributes:
        path, reference: the shared libraries.
        arguments, target, device, timeout, linker, runner: as in :class:`Measure`.
    """

    path: str
    reference: str
    arguments: tuple[Argument, ...]
    target: TargetDescription
    device: str | None = None
    timeout: float = 60.0
    linker: str | None = None
    runner: str | None = None


class Replay(msgspec.Struct, frozen=True, tag=True):
    """Make a record's kernel again; what comes from a log is taken apart in a worker only.

    Attributes:
        module: the workload, see :func:`tvmcomp.tuning.task.write_module`.
        record: its line in the log: JSON, which holds what msgpack does not.
        target: what the baseline is scheduled for.
    """

    module: str
    record: bytes
    target: TargetDescription


class Adopt(msgspec.Struct, frozen=True, tag=True):
    """Take over a workload of a MetaSchedule database, and schedules of it.

    Attributes:
        module: the IRModule, as ``tvm.ir.save_json`` writes it.
        traces: a JSON list of them, as MetaSchedule writes them.
    """

    module: str
    traces: bytes


class Identify(msgspec.Struct, frozen=True, tag=True):
    """Ask a device for its fingerprint, or its GPU's; the fields are as in :class:`Measure`."""

    device: str
    timeout: float = 60.0
    runner: str | None = None
    gpu: bool = False


class Built(msgspec.Struct, frozen=True, tag=True):
    """The library is at the path that was asked for, after so many seconds."""

    seconds: float


class Measured(msgspec.Struct, frozen=True, tag=True):
    """Times of one call, in seconds: of each library, one a round.

    Attributes:
        run_secs: the times.
        device: what they were taken on, or None for this machine.
    """

    run_secs: tuple[tuple[float, ...], ...]
    device: Fingerprint | None = None


class MeasuredNetwork(msgspec.Struct, frozen=True, tag=True):
    """Seconds that each kernel took in a pass over the network, one a round; :data:`WHOLE`: all.

    Attributes:
        run_secs: of the network as it is, then of each variant.
    """

    run_secs: tuple[dict[str, tuple[float, ...]], ...]


class Compared(msgspec.Struct, frozen=True, tag=True):
    """How the two differ, in words; "" where they do the same."""

    difference: str


class Replayed(msgspec.Struct, frozen=True, tag=True):
    """IRModules as ``tvm.ir.save_json`` writes them.

    Attributes:
        scheduled: by the record.
        baseline: as a build without records schedules it.
        unscheduled: the workload itself.
    """

    scheduled: str
    baseline: str
    unscheduled: str


class Adopted(msgspec.Struct, frozen=True, tag=True):
    """A workload in our form; of each trace the hash of the kernel it makes, or "" and why not."""

    workload: Workload
    module: str
    kernels: tuple[str, ...]
    reasons: tuple[str, ...]


class Identified(msgspec.Struct, frozen=True, tag=True):
    """The device's fingerprint."""

    fingerprint: Fingerprint


class Lent(msgspec.Struct, frozen=True, tag=True):
    """No reply yet: the job goes on with this device, which the worker may hang with."""

    device: str


class Failed(msgspec.Struct, frozen=True, tag=True):
    """A job that gave nothing.

    Attributes:
        kind: ``error`` (an exception), ``device`` (an error that a device may be the reason of),
            ``crash`` (the process died) or ``timeout``.
        message: one line for a person.
    """

    kind: str
    message: str


Job = Build | Measure | MeasureNetwork | Compare | Replay | Adopt | Identify
Reply = Built | Measured | MeasuredNetwork | Compared | Replayed | Adopted | Identified | Failed
