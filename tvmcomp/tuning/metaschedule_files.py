"""MetaSchedule's own database, two files of JSON lines: records come from it, and go to it.

``database_workload.json`` has a line ``[hash, module]`` for each workload, and
``database_tuning_record.json`` a line ``[number of the workload's line, [trace, run_secs, target,
arguments]]`` for each record.
"""

from __future__ import annotations

import base64
import binascii
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from tvmcomp.errors import LogError
from tvmcomp.targets.description import TargetDescription
from tvmcomp.targets.features import architecture
from tvmcomp.targets.fingerprint import Fingerprint
from tvmcomp.tuning.jobs import Adopt, Adopted, Failed
from tvmcomp.tuning.log.record import AnyLine, Definition, Target, Trial, Versions
from tvmcomp.tuning.log.tuning_log import TuningLog
from tvmcomp.tuning.pool import WorkerPool
from tvmcomp.tuning.task import unpack

WORKLOADS = "database_workload.json"
RECORDS = "database_tuning_record.json"
#: Times that a log holds, in seconds. MetaSchedule writes 1e9 or more where there is none.
_LEAST_TIME, _NO_TIME = 1e-15, 1e6
_UNKNOWN = Versions("", "", "")
_ADOPT_SECONDS = 300.0
#: TVM writes a text's length before the text, and both in base64.
_LENGTH_BYTES = 8


class _WorkloadLine(msgspec.Struct, array_like=True):
    hash: str
    module: str


class _Record(msgspec.Struct, array_like=True):
    trace: list[Any]
    run_secs: list[float] | None
    target: dict[str, Any] | None = None


class _RecordLine(msgspec.Struct, array_like=True):
    workload: int
    record: _Record


#: A record, and where it stands.
_Placed = tuple[str, _Record]


def read_database(
    folder: Path,
    target: TargetDescription,
    device: Fingerprint,
    report: Callable[[str], None],
) -> Iterator[AnyLine]:
    """The lines that a log holds for a MetaSchedule database.

    Reading the same files again gives the same lines: they have no date, as MetaSchedule says none.
    Modules and traces are taken apart in a worker process.

    Args:
        folder: holds the two files.
        target: what they were tuned for; MetaSchedule does not say it in full. Records whose
            target contradicts it are reported and skipped.
        device: what they were measured on; MetaSchedule does not say it.
        report: is told of each line that is skipped, and why.

    Raises:
        LogError: the files can't be read.
    """
    workloads = list(_lines(folder / WORKLOADS, _WorkloadLine, report))
    by_workload: dict[int, list[_Placed]] = {}
    for where, line in _lines(folder / RECORDS, _RecordLine, report):
        reason = _unusable(line, workloads, target)
        if reason:
            report(f"{where}: skipped: {reason}")
        else:
            by_workload.setdefault(line.workload, []).append((where, line.record))
    with WorkerPool(1) as pool:
        for index, records in sorted(by_workload.items()):
            where, workload = workloads[index]
            defined = False
            for group, adopted in _adopted(pool, workload, records):
                if isinstance(adopted, Failed):
                    report(f"{where}: skipped, with {len(group)} records: {adopted.message}")
                    continue
                common: dict[str, Any] = {
                    "workload": adopted.workload,
                    "versions": _UNKNOWN,
                    "date": "",
                }
                if not defined:
                    yield Definition(**common, module=adopted.module)
                    defined = True
                for number, (place, record) in enumerate(group):
                    if not adopted.kernels[number]:
                        report(f"{place}: skipped: {adopted.reasons[number]}")
                        continue
                    yield Trial(
                        **common,
                        target=Target.of(target),
                        device=device,
                        trace=record.trace,
                        kernel=adopted.kernels[number],
                        run_secs=tuple(record.run_secs or ()),
                    )


def write_database(
    folder: Path, log: TuningLog, target: TargetDescription, report: Callable[[str], None]
) -> int:
    """Write the measured records of the instruction set of ``target`` as MetaSchedule's database.

    Args:
        folder: where they go.
        log: where they come from.
        target: selects the records.
        report: is told of each workload that is left out, and why.

    Returns:
        How many records were written.

    Raises:
        LogError: the folder can't be written, or holds a database already.
    """
    workloads: list[bytes] = []
    records: list[bytes] = []
    for workload in log.workloads():
        definition = log.definition(workload)
        # What a build may use. A baseline of ours has no trace: MetaSchedule would take
        # it for plain loops.
        found = [each for each in log.ranked(workload, target) if each.record.usable]
        if not definition or not found:
            if found:
                report(f"workload {workload}: skipped: the log does not hold the workload itself")
            continue
        try:
            module = unpack(definition.module)
        except ValueError as error:
            report(f"workload {workload}: skipped: {error}")
            continue
        text = base64.b64encode(len(module).to_bytes(_LENGTH_BYTES, "little") + module).decode()
        arguments = [["TENSOR", a.dtype, list(a.shape)] for a in definition.workload.arguments]
        for each in found:
            record = each.record
            parts = [record.trace, record.run_secs, target.tvm_target_dict(), arguments]
            records.append(msgspec.json.encode([len(workloads), parts]))
        workloads.append(msgspec.json.encode([str(int(workload, 16)), text]))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any((folder / name).exists() for name in (WORKLOADS, RECORDS)):
            raise LogError(
                "holds a MetaSchedule database already",
                where=str(folder),
                hint="Give another folder: its records are not joined with these.",
            )
        _write(folder / WORKLOADS, workloads)
        _write(folder / RECORDS, records)
    except OSError as error:
        raise LogError(f"can't write: {error.strerror}", where=str(folder)) from error
    return len(records)


def _lines(path: Path, kind: type[Any], report: Callable[[str], None]) -> Iterator[tuple[str, Any]]:
    """(where, line) of each line; a line that can't be read keeps its number, and is None."""
    decoder = msgspec.json.Decoder(kind)
    try:
        texts = path.read_bytes().splitlines()
    except OSError as error:
        raise LogError(
            f"can't be read: {error.strerror}",
            where=str(path),
            hint=f"Give a folder that holds {WORKLOADS} and {RECORDS}.",
        ) from error
    for number, text in enumerate(texts, 1):
        where = f"{path} line {number}"
        try:
            yield where, decoder.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            report(f"{where}: skipped: {error}")
            if kind is _WorkloadLine:
                yield where, None


def _unusable(
    line: _RecordLine, workloads: list[tuple[str, Any]], target: TargetDescription
) -> str | None:
    times = line.record.run_secs
    if not 0 <= line.workload < len(workloads) or workloads[line.workload][1] is None:
        return f"there is no workload {line.workload}"
    if not times or not all(_LEAST_TIME <= time < _NO_TIME for time in times):
        return "it was not measured"
    tuned_for = line.record.target or {}
    ours = target.tvm_target_dict()
    if tuned_for.get("kind", ours["kind"]) != ours["kind"]:
        return f"it is for a target of kind {tuned_for['kind']!r}"
    triple = str(tuned_for.get("mtriple", target.triple))
    if architecture(triple) != architecture(target.triple):
        return f"it is for {triple}"
    features = tuned_for.get("mattr") or []
    if not isinstance(features, list):
        return f"its target has features {features!r}"
    lacking = {str(feature).lstrip("+") for feature in features if str(feature)[:1] != "-"}
    lacking -= set(target.features)
    return f"it is for {', '.join(sorted(lacking))}, too" if lacking else None


def _adopted(
    pool: WorkerPool, line: _WorkloadLine, records: list[_Placed]
) -> Iterator[tuple[list[_Placed], Adopted | Failed]]:
    """All records at once; one by one where one of them ends the worker."""
    reply = _adopt(pool, line, [record.trace for _, record in records])
    if isinstance(reply, Failed) and reply.kind in ("crash", "timeout") and len(records) > 1:
        for each in records:
            yield from _adopted(pool, line, [each])
    else:
        yield records, reply


def _adopt(pool: WorkerPool, line: _WorkloadLine, traces: list[list[Any]]) -> Adopted | Failed:
    try:
        module = base64.b64decode(line.module)[_LENGTH_BYTES:].decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        return Failed("error", str(error))
    ((_, reply),) = pool.run([Adopt(module, msgspec.json.encode(traces))], _ADOPT_SECONDS)
    assert isinstance(reply, Adopted | Failed)
    return reply


def _write(path: Path, lines: list[bytes]) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        file.writelines(line + b"\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)
