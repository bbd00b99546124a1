"""What the lines of a tuning log hold. The published schema is made of these types.

A log is a set of JSON objects, one a line, each standing alone. ``type`` tells the kinds apart:

- ``trial``: one candidate that was built and measured (:class:`Trial`).
- ``finished``: a search that ended (:class:`Finished`), so that it is not run again.
- ``comparison``: two networks or more that compute the same, timed in turns
  (:class:`Comparison`), so that a later build of them measures nothing.
- ``workload``: the kernel itself (:class:`Definition`), so that a log can be checked and exported
  without the network that it came from.

``schema`` is 1. A reader skips lines of other schemas, says so, and leaves them where they are. It
ignores fields that it does not know: a later version may add some without a new number. A change
that would make an old reader misunderstand a line takes a new number, and the reader of that
version takes both.
"""

from __future__ import annotations

from datetime import datetime, timezone
from functools import cache
from importlib.metadata import version
from statistics import median
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tvmcomp.targets.description import TargetDescription
from tvmcomp.targets.features import architecture
from tvmcomp.targets.fingerprint import Fingerprint

SCHEMA = 1

#: The runtime in C that artifacts have, as :attr:`Trial.runtime` names it.
OWN_RUNTIME = "tvmcomp"

Text = Annotated[str, Meta(max_length=2000)]
Hash = Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
HashOrNone = Annotated[str, Meta(pattern="^([0-9a-f]{16})?$")]
#: So bounded, quotients of times are finite, and not 0.
Seconds = Annotated[float, Meta(ge=1e-15, lt=1e6)]
Count = Annotated[int, Meta(ge=0, lt=2**31)]
Choice = Annotated[int, Meta(ge=-(2**53), le=2**53)]


class Argument(msgspec.Struct, frozen=True):
    """A tensor argument of a kernel: numpy dtype name and static shape."""

    dtype: Text
    shape: tuple[Annotated[int, Meta(ge=0, lt=2**62)], ...]


class Workload(msgspec.Struct, frozen=True):
    """What was tuned: see :func:`tvmcomp.tuning.task.workload_hash`; ``name`` is for people."""

    hash: Hash
    name: Text
    arguments: tuple[Argument, ...]


class InstructionSet(msgspec.Struct, frozen=True):
    """The fields of a target's description that decide which code can run on it.

    Records are exchanged between targets only where all of them are equal. Of a GPU that is its own
    architecture: its host has no part in a kernel's time.
    """

    family: Text
    arch: Text
    features: tuple[Text, ...]
    dot_product: Text
    vector_bits: Count
    cuda_arch: Text = ""

    @staticmethod
    def of(target: TargetDescription) -> InstructionSet:
        """The instruction set of ``target``."""
        if target.family == "cuda":
            arch = target.cuda_arch
            return InstructionSet("cuda", "", (), target.dot_product, 0, arch)
        return InstructionSet(
            target.family,
            architecture(target.triple),
            tuple(sorted(target.features)),
            target.dot_product,
            target.vector_bits,
        )


class Target(msgspec.Struct, frozen=True):
    """The target that was compiled for, as far as it shapes a schedule.

    Attributes:
        name: of the target.
        instruction_set: which code can run on it.
        cores: that the code was made for; multiprocessors of a GPU.
        cpu: LLVM's name of the CPU, or "".
        l1_kib, l2_kib, l3_kib: data caches; 0 where that is not known.
    """

    name: Text
    instruction_set: InstructionSet
    cores: Count
    cpu: Text = ""
    l1_kib: Count = 0
    l2_kib: Count = 0
    l3_kib: Count = 0

    @staticmethod
    def of(target: TargetDescription) -> Target:
        """The logged form of ``target``."""
        if target.family == "cuda":
            l2_kib = target.extra.get("l2_cache_size_bytes", 0) >> 10
            cores = target.gpu.multiprocessors
            return Target(target.name, InstructionSet.of(target), cores, l2_kib=l2_kib)
        return Target(
            target.name,
            InstructionSet.of(target),
            target.cores,
            target.cpu,
            target.l1_kib,
            target.l2_kib,
            target.l3_kib,
        )


class Versions(msgspec.Struct, frozen=True):
    """The versions of what made the code; "" where that is not known."""

    tvmcomp: Text
    tvm: Text
    llvm: Text

    @staticmethod
    @cache
    def here() -> Versions:
        """The versions installed here."""
        from tvmcomp.tvm_import import tvm  # not above: reading a log does not need TVM

        llvm = tvm.get_global_func("target.llvm_version_major")()
        return Versions(version("tvmcomp"), tvm.__version__, str(llvm))


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What every line holds.

    Attributes:
        schema: version of the format.
        workload: what was tuned.
        versions: what it was tuned with.
        date: UTC, ISO 8601, to the millisecond (old records: to the second), or "" where it is not
            known.
    """

    schema: int = SCHEMA
    workload: Workload
    versions: Versions
    date: Text


class Trial(Line, frozen=True, kw_only=True, tag_field="type", tag="trial"):
    """One candidate.

    Attributes:
        target, device: what it was built for, and where it was measured.
        trace: the schedule, as MetaSchedule writes a trace: ``[instructions, decisions]``.
        kernel: :func:`tvmcomp.tuning.trace.kernel_hash` of what the trace made of the workload; ""
            where that is not known. A record of other versions is used only where it makes the
            same again.
        run_secs: every measured time of one call, in seconds; empty where the trial failed.
        baseline_secs: times of the baseline, taken in turns with ``run_secs``; empty where
            it was not measured beside.
        confirmed: measured again in many turns it was faster than the baseline.
        error: why it failed (``build error: …``, ``run crash: …``), or None.
        is_baseline: it is the schedule that a build without records uses; ``untuned`` in a line.
        space: the design space of ours that it is a point of, or "".
        choices: the point: what was chosen, by name.
        runtime: what ran it when it was measured: :data:`OWN_RUNTIME`, or TVM's, as all did once.
    """

    target: Target
    device: Fingerprint
    trace: list[Any]
    kernel: HashOrNone = ""
    run_secs: tuple[Seconds, ...] = ()
    baseline_secs: tuple[Seconds, ...] = ()
    confirmed: bool = False
    error: Text | None = None
    is_baseline: bool = msgspec.field(default=False, name="untuned")
    space: Text = ""
    choices: dict[Text, Choice] = {}
    runtime: Text = "tvm"

    @property
    def usable(self) -> bool:
        """Whether a build may use it: it is known to be faster, or came without a baseline."""
        return not self.is_baseline and (self.confirmed or not self.baseline_secs)

    @property
    def seconds(self) -> float:
        """The median of the measured times; infinite where the trial failed."""
        return median(self.run_secs) if self.run_secs else float("inf")


class MeasuredPoint(msgspec.Struct, frozen=True):
    """The part of a trial that a cost model learns from; see :class:`Trial`."""

    workload: Workload
    run_secs: tuple[Seconds, ...] = ()
    baseline_secs: tuple[Seconds, ...] = ()
    space: Text = ""
    choices: dict[Text, Choice] = {}


class Finished(Line, frozen=True, kw_only=True, tag_field="type", tag="finished"):
    """A search that ended.

    Attributes:
        target, device: what it built for, and where it measured.
        trials: the number of trials that was asked for.
        exhausted: the design space holds no further candidate, whatever number is asked for.
    """

    target: Target
    device: Fingerprint
    trials: Count
    exhausted: bool = False


class Definition(Line, frozen=True, kw_only=True, tag_field="type", tag="workload"):
    """A workload itself.

    Attributes:
        module: the unscheduled kernel, see :func:`tvmcomp.tuning.task.write_module`.
    """

    module: Annotated[str, Meta(max_length=900_000)]


class Timing(msgspec.Struct, frozen=True):
    """A whole network's times.

    Attributes:
        format: the number format of most of it (``int8``, ``float32``), or ``mixed``.
        code: :func:`tvmcomp.formats.identity.code_hash` of its kernels.
        run_secs: of an inference, one a round; those of one round were taken one after the other.
        call_secs: of each call of a kernel in an inference, kernel by kernel; empty where they were
            not taken.
    """

    format: Text
    code: Hash
    run_secs: tuple[Seconds, ...]
    call_secs: tuple[Seconds, ...] = ()


class Comparison(Line, frozen=True, kw_only=True, tag_field="type", tag="comparison"):
    """Networks that compute the same, in turns. Its workload is all of them together.

    Attributes:
        target, device: what they were built for, and where they were measured.
        networks: each one's times, as many of each.
    """

    target: Target
    device: Fingerprint
    networks: tuple[Timing, ...]

    def __post_init__(self) -> None:
        rounds = {len(network.run_secs) for network in self.networks}
        if len(rounds) != 1 or 0 in rounds:
            raise ValueError("Expected as many `run_secs` of each of `$.networks`, and some")


AnyLine = Trial | Finished | Comparison | Definition

#: What a build reads from a log: a trial with measured times.
Record = Trial


def now() -> str:
    """The time as lines hold it."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
