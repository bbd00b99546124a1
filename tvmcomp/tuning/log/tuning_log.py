"""The log as the tuner and a build see it: several stores in order, looked up by workload."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from tvmcomp.errors import LogError
from tvmcomp.targets.description import TargetDescription
from tvmcomp.targets.fingerprint import DeviceModel, Fingerprint
from tvmcomp.tuning.log.line import Entry, age, encode, speedups
from tvmcomp.tuning.log.nearest import Nearness, nearness
from tvmcomp.tuning.log.record import (
    AnyLine,
    Comparison,
    Definition,
    InstructionSet,
    Trial,
    Versions,
)
from tvmcomp.tuning.log.store import Store


@dataclass(frozen=True)
class Found:
    """A record that a look-up found.

    Attributes:
        record: it.
        id: its digest.
        seconds: of a call, over every time of its schedule on devices like the record's.
        reason: why it was chosen: how near its device is.
    """

    record: Trial
    id: str
    seconds: float
    reason: str


class TuningLog:
    """Several stores; the first is written, all are read.

    Args:
        stores: none for a log without any records, which can't be written.
    """

    def __init__(self, stores: Sequence[Store]) -> None:
        self.stores = tuple(stores)
        self._malformed: dict[str, str] = {}

    @property
    def where(self) -> str:
        """The store that is written."""
        return self.stores[0].where if self.stores else "(nowhere)"

    @property
    def problems(self) -> list[str]:
        """What was wrong with the lines that were skipped so far, one sentence each."""
        unread = [problem for store in self.stores for problem in store.problems]
        return unread + list(self._malformed.values())

    def append(self, *lines: AnyLine) -> None:
        """Write ``lines`` before returning: ending the process later can't lose them.

        Raises:
            LogError: the first store can't be written; it is left as it was. Or there is none.
        """
        if not self.stores:
            raise LogError("there is no log to write to", hint="Give a folder or a PATH.db.")
        self.stores[0].add([Entry(encode(line)) for line in lines])

    def best(
        self, workload: str, target: TargetDescription, device: Fingerprint | None = None
    ) -> Found | None:
        """The first of :meth:`ranked`, or None."""
        return next(self.ranked(workload, target, device), None)

    def ranked(
        self, workload: str, target: TargetDescription, device: Fingerprint | None = None
    ) -> Iterator[Found]:
        """Every measured schedule of a workload for the instruction set of ``target``, best first.

        Those of the same model as ``device`` go first, then the nearest description, then the model
        of the largest speedup; of a model the fastest. Times of unlike devices are never compared.
        What was measured more than once on devices of a model counts with all its times, and comes
        once. A device is slower one day than another: what was measured in turns with the baseline
        counts by its speedup.

        Args:
            workload: :func:`tvmcomp.tuning.task.workload_hash` of the kernel.
            target: what it is compiled for.
            device: where it will run, if that is known.
        """
        # Thousands of entries share a place: it is looked into once, and then goes by its number.
        places: dict[tuple[Nearness, DeviceModel], int] = {}
        numbers: dict[tuple[bytes, bytes], int | None] = {}
        groups: dict[tuple[int, bytes, str], list[Entry]] = {}
        for entry in self._entries(workload):
            summary = entry.summary
            if summary.type != "trial" or not summary.run_secs:
                continue
            where = (bytes(summary.target), bytes(summary.device))
            if where not in numbers:
                with self.reporting(entry):
                    near = nearness(entry.target, entry.device, target, device)
                    place = near and (near, entry.device.model)
                    numbers[where] = place and places.setdefault(place, len(places))
            number = numbers.get(where)
            if number is not None:
                what = (number, bytes(summary.trace), summary.kernel)
                groups.setdefault(what, []).append(entry)
        in_order = list(places)
        baselines: dict[int, list[float]] = {}
        fastest = [1.0] * len(places)
        for (number, *_), same in groups.items():
            times = [t for e in same if e.summary.is_baseline for t in e.summary.run_secs]
            baselines.setdefault(number, []).extend(times)
            if max(same, key=age).summary.confirmed:
                fastest[number] = max(fastest[number], median(speedups(same) or [1.0]))
        timed = []
        for (number, *_), same in groups.items():
            near, model = in_order[number]
            seconds, newest = _seconds(same, baselines[number]), max(same, key=age)
            # Of models that are equally near, the one of the largest speedup goes first. An unknown
            # device's times say least: they are an import's, and nothing was beside them.
            order = (*near[:2], not model[0], -fastest[number], model, seconds, newest.digest)
            timed.append((order, near.reason, seconds, newest))
        timed.sort(key=lambda each: each[0])
        for _, reason, seconds, entry in timed:
            with self.reporting(entry):
                line = entry.line
                if isinstance(line, Trial):
                    yield Found(line, entry.digest, seconds, reason)

    def trials(self, workload: str, target: TargetDescription) -> list[Trial]:
        """All trials of a workload for the instruction set of ``target``, failed ones too.

        The newest is last.
        """
        found = []
        for entry in sorted(self._of_instruction_set("trial", workload, target), key=age):
            with self.reporting(entry):
                line = entry.line
                if isinstance(line, Trial):
                    found.append(line)
        return found

    def finished(
        self, workload: str, target: TargetDescription, trials: int, device: Fingerprint
    ) -> bool:
        """Whether a search of at least ``trials`` trials ended, or one that left nothing to try.

        Searches with other versions, or on another model of device, don't count: another kernel may
        win there.
        """
        versions = Versions.here()
        for entry in self._of_instruction_set("finished", workload, target):
            if entry.summary.exhausted or entry.summary.trials >= trials:
                with self.reporting(entry):
                    if entry.device.same_model(device) and entry.line.versions == versions:
                        return True
        return False

    def comparison(
        self, workload: str, target: TargetDescription, device: Fingerprint | None
    ) -> Comparison | None:
        """The times of networks that were measured in turns: the nearest device's, and of these the
        newest; None where there are none.

        Those of other versions don't count. Where the network will run here, those of another model
        of device don't, either.

        Args:
            workload: of all the networks together.
            target: what they are compiled for.
            device: where they will run, if that is known.
        """
        found: list[tuple[Nearness, Entry]] = []
        for entry in self._of_instruction_set("comparison", workload, target):
            with self.reporting(entry):
                near = nearness(entry.target, entry.device, target, device)
                same = near is not None and (device is None or not near.other_model)
                if near is not None and same and entry.line.versions == Versions.here():
                    found.append((near, entry))
        if not found:
            return None
        nearest = min(near[:2] for near, _ in found)
        newest = max((entry for near, entry in found if near[:2] == nearest), key=age)
        return newest.line if isinstance(newest.line, Comparison) else None

    def definition(self, workload: str) -> Definition | None:
        """The workload itself as it was written last, or None where no store holds it."""
        found = [e for e in self._entries(workload) if e.summary.type == "workload"]
        for entry in sorted(found, key=age, reverse=True):
            with self.reporting(entry):
                if isinstance(entry.line, Definition):
                    return entry.line
        return None

    def entries(self) -> Iterator[Entry]:
        """Everything, each once; in the same order whatever was written first."""
        for bucket in sorted({bucket for store in self.stores for bucket in store.buckets()}):
            found = {entry.digest: entry for store in self.stores for entry in store.read(bucket)}
            yield from sorted(found.values(), key=lambda entry: (entry.workload, entry.digest))

    def workloads(self) -> list[str]:
        """The hashes of all workloads that the stores hold something of, in order."""
        kernels = (entry for entry in self.entries() if entry.summary.type != "comparison")
        return sorted({entry.workload for entry in kernels})

    def close(self) -> None:
        """Let go of the stores' files and connections."""
        for store in self.stores:
            store.close()

    def _entries(self, workload: str) -> list[Entry]:
        found = (entry for store in self.stores for entry in store.find(workload))
        return list({entry.digest: entry for entry in found}.values())

    def _of_instruction_set(
        self, kind: str, workload: str, target: TargetDescription
    ) -> Iterator[Entry]:
        wanted = InstructionSet.of(target)
        for entry in self._entries(workload):
            if entry.summary.type == kind:
                with self.reporting(entry):
                    if entry.target.instruction_set == wanted:
                        yield entry

    @contextmanager
    def reporting(self, entry: Entry) -> Iterator[None]:
        """Turn the ValueError of a malformed record into a problem."""
        try:
            yield
        except ValueError as error:
            self._malformed[entry.digest] = f"record {entry.digest[:12]} skipped: {error}"


def _seconds(same: Sequence[Entry], baseline_secs: Sequence[float]) -> float:
    """Of a call: the baseline's time over the speedup, where both are known."""
    ratios = speedups(same)
    if ratios and baseline_secs:
        return median(baseline_secs) / median(ratios)
    return median([seconds for entry in same for seconds in entry.summary.run_secs])
