"""MetaSchedule's own database: written and read by MetaSchedule, read and written by us."""

import json

import msgspec
import pytest

from tvmcomp import targets
from tvmcomp.errors import LogError
from tvmcomp.targets.fingerprint import Fingerprint
from tvmcomp.tuning.log.folder import FolderStore
from tvmcomp.tuning.log.line import Entry, encode
from tvmcomp.tuning.log.tuning_log import TuningLog
from tvmcomp.tuning.metaschedule_files import RECORDS, WORKLOADS, read_database, write_database
from tvmcomp.tuning.rebuild import apply_record
from tvmcomp.tuning.task import workload_hash
from tvmcomp.tvm_import import cheap_stack_inspection, tvm

with cheap_stack_inspection():
    from tvm.s_tir import meta_schedule as ms

BOARD = Fingerprint(cpu="a board")


def database(folder):
    return ms.database.JSONDatabase(str(folder / WORKLOADS), str(folder / RECORDS))


@pytest.fixture
def theirs(tmp_path, relu, native):
    """A database of MetaSchedule's with three records of one workload, one of them failed."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    made = database(folder)
    module = tvm.IRModule({"main": relu})
    workload = made.commit_workload(module)
    arguments = ms.arg_info.ArgInfo.from_prim_func(relu)
    for length, seconds in ((4, 0.004), (8, 0.002), (16, 1e10)):
        schedule = tvm.s_tir.Schedule(module)
        columns = schedule.get_loops(schedule.get_sblock("y"))[1]
        schedule.vectorize(schedule.split(columns, [None, length])[1])
        target = tvm.target.Target(native.tvm_target_dict())
        made.commit_tuning_record(
            ms.database.TuningRecord(schedule.trace, workload, [seconds], target, arguments)
        )
    return folder


@pytest.fixture
def log(tmp_path):
    return TuningLog([FolderStore(tmp_path / "log")])


def read(folder, target):
    problems = []
    lines = list(read_database(folder, target, BOARD, problems.append))
    return lines, problems


def test_import(theirs, log, relu, native):
    lines, problems = read(theirs, native)
    assert len(lines) == 3 and len(problems) == 1 and "not measured" in problems[0]
    log.append(*lines)
    found = list(log.ranked(workload_hash(relu), native))
    assert [each.seconds for each in found] == [0.002, 0.004]
    assert found[0].record.device == BOARD and found[0].record.kernel
    assert apply_record(found[0].record, relu) is not None
    assert log.definition(workload_hash(relu)) is not None
    # The same again is not new.
    again, _ = read(theirs, native)
    assert log.stores[0].add([Entry(encode(line)) for line in again]) == 0


def test_export_is_a_database(theirs, tmp_path, log, relu, matmul, native):
    log.append(*read(theirs, native)[0])
    problems = []
    assert write_database(tmp_path / "ours", log, native, problems.append) == 2 and not problems
    found = database(tmp_path / "ours")
    module = tvm.IRModule({"main": relu})
    assert found.has_workload(module) and len(found) == 2
    best = found.query_tuning_record(module, tvm.target.Target(native.tvm_target_dict()), "main")
    assert [float(time) for time in best.run_secs] == [0.002]
    assert not found.has_workload(tvm.IRModule({"main": matmul}))
    # And back.
    assert len(read(tmp_path / "ours", native)[0]) == 3
    with pytest.raises(LogError, match="already"):
        write_database(tmp_path / "ours", log, native, problems.append)


def test_records_of_another_target_are_skipped(theirs):
    lines, problems = read(theirs, targets.load("arm"))
    assert not lines and len(problems) == 3


def test_records_of_features_that_a_target_lacks_are_skipped(theirs, native):
    lacking = msgspec.structs.replace(native, features=native.features[1:])
    lines, problems = read(theirs, lacking)
    assert not lines and len(problems) == 3


def test_hostile_files_are_reported_and_skipped(theirs, native):
    lines = (theirs / RECORDS).read_text().splitlines()
    first = json.loads(lines[0])
    other_trace = json.loads(lines[0])
    other_trace[1][0][0][0][2][0] = "no such block"
    huge = json.loads(lines[0])
    huge[1][0][0][2][1][2] = 10**300
    unsafe = json.loads(lines[0])
    unsafe[1][0][0][0][0] = "UnsafeSetDType"
    bad = [
        "",
        "torn [",
        "[" * 100_000,
        json.dumps([10**30, first[1]]),
        json.dumps([-1, first[1]]),
        json.dumps([1, first[1]]),
        json.dumps([2, first[1]]),
        json.dumps(other_trace),
        json.dumps(huge),
        json.dumps(unsafe),
        json.dumps([0, [first[1][0], [-1.0], None]]),
        json.dumps([0, [first[1][0], None, None]]),
        json.dumps([0, [first[1][0], [2e6], None]]),
        json.dumps([0, [first[1][0], [1.0], {"mattr": 5}]]),
    ]
    with (theirs / WORKLOADS).open("a") as file:
        file.write('not json\n["1", "AAAA"]\n')
    (theirs / RECORDS).write_text("\n".join([*bad, *lines]) + "\n")
    found, problems = read(theirs, native)
    assert len(found) == 3
    # A line each, one more for the broken line of the workloads, one for the failed record.
    assert len(problems) == len(bad) + 2, problems


def test_no_database_is_a_clear_error(tmp_path, native):
    with pytest.raises(LogError, match="can't be read"):
        read(tmp_path, native)


def test_a_baseline_is_not_exported(tmp_path, log, relu, make_trial, native):
    """It has no trace: MetaSchedule would take its time for that of plain loops."""
    log.append(make_trial(relu, (1e-9,), is_baseline=True))
    assert write_database(tmp_path / "ours", log, native, [].append) == 0


def test_what_no_build_uses_is_not_exported(tmp_path, log, relu, make_trial, native):
    log.append(make_trial(relu, (1e-9,), baseline_secs=(1e-8,)))
    assert write_database(tmp_path / "ours", log, native, [].append) == 0


def test_a_database_that_has_grown_brings_only_what_is_new(theirs, log, native):
    log.append(*read(theirs, native)[0])
    line = json.loads((theirs / RECORDS).read_text().splitlines()[0])
    line[1][1] = [0.003]
    with (theirs / RECORDS).open("a") as file:
        file.write(json.dumps(line) + "\n")
    again, _ = read(theirs, native)
    assert log.stores[0].add([Entry(encode(line)) for line in again]) == 1
