"""Merge, prune and statistics, between every two kinds of store."""

import itertools

import msgspec
import pytest
from made_up import DESKTOP, LAPTOP, SKYLAKE, records, trial, workload

from tvmcomp.tuning.log.line import Entry, digest_of, encode
from tvmcomp.tuning.log.merge import merge
from tvmcomp.tuning.log.places import open_store
from tvmcomp.tuning.log.prune import prune
from tvmcomp.tuning.log.record import Definition, Finished
from tvmcomp.tuning.log.statistics import statistics
from tvmcomp.tuning.log.tuning_log import TuningLog


def everything(store):
    return [(e.workload, e.digest) for bucket in store.buckets() for e in store.read(bucket)]


def conflicting():
    """Two logs that tell different things of the same candidates."""
    same = {"trace": [[["GetSBlock", [], ["y", "main"], ["b0"]]], []]}
    one = [trial(0, run_secs=(1e-3, 2e-3), **same), trial(1, run_secs=(1e-6,), **same)]
    other = [
        trial(0, run_secs=(9e-3,), date="2027-01-01T00:00:00+00:00", **same),
        trial(1, run_secs=(), error="run timeout: killed", **same),
        trial(0, run_secs=(5e-9,), device=LAPTOP, **same),
    ]
    return [[Entry(encode(line)) for line in lines] for lines in (one, other)]


def test_conflicting_stores_merge_to_the_same_in_either_order(location, tmp_path):
    one, other = (open_store(tmp_path / name) for name in ("one", "other.db"))
    for store, entries in zip((one, other), conflicting(), strict=True):
        store.add([*entries, *records(20)])
    results = []
    for index, order in enumerate(itertools.permutations((one, other))):
        into = open_store(location if index else tmp_path / "into")
        for source in order:
            merge(source, into)
        log = TuningLog([into])
        looked_up = [
            [(each.id, each.seconds, each.reason) for each in log.ranked(workload(i), SKYLAKE, d)]
            for i in range(8)
            for d in (None, DESKTOP, LAPTOP)
        ]
        results.append((everything(into), looked_up, len(log.trials(workload(0), SKYLAKE))))
        into.close()
    assert results[0] == results[1] and len(results[0][0]) == 25
    # A candidate that was measured in both counts with the times of both.
    assert 2e-3 in [seconds for _, seconds, _ in results[0][1][1]]


def test_merging_again_adds_nothing(store, tmp_path):
    source = open_store(tmp_path / "source")
    source.add(records(100))
    first = merge(source, store)
    assert (first.read, first.added, first.malformed) == (100, 100, 0)
    assert merge(source, store).added == 0
    assert merge(store, source).added == 0
    assert everything(store) == everything(source)


def test_malformed_records_stay_where_they_are(store, tmp_path):
    source = open_store(tmp_path / "source")
    bad = {**msgspec.to_builtins(trial(seconds=1e-9)), "trace": 5}
    source.add([*records(5), Entry(msgspec.json.encode(bad))])
    merged = merge(source, store)
    assert (merged.read, merged.added, merged.malformed) == (6, 5, 1)
    assert len(source.problems) == 1 and len(everything(source)) == 6


def test_prune_keeps_what_builds_use(store):
    like = trial()
    names = ("workload", "target", "device", "versions", "date")
    finished = Finished(**{name: getattr(like, name) for name in names}, trials=8)
    common = {name: getattr(like, name) for name in ("workload", "versions", "date")}

    def candidate(index, seconds):
        return trial(seconds=seconds, trace=[[["GetSBlock", [], [f"y{index}"], ["b0"]]], []])

    kept = [
        candidate(0, 1e-6),
        candidate(1, 2e-6),
        candidate(1, 3e-6),
        trial(seconds=5e-3, device=LAPTOP),
        trial(seconds=1.0, is_baseline=True),
        finished,
        Definition(**common, module="eJw="),
    ]
    lucky_once = [candidate(2, 1e-7), candidate(2, 9e-6), candidate(2, 9e-6 + 1e-12)]
    gone = [candidate(3, 4e-6), *lucky_once, trial(run_secs=(), error="run crash: x")]
    store.add([Entry(encode(line)) for line in [*kept, *gone]])
    best = TuningLog([store]).best(workload(0), SKYLAKE, DESKTOP)
    assert prune(store, keep=2, dry_run=True) == 5 and len(everything(store)) == 12
    assert prune(store, keep=2) == 5
    assert {digest for _, digest in everything(store)} == {
        Entry(encode(line)).digest for line in kept
    }
    assert TuningLog([store]).best(workload(0), SKYLAKE, DESKTOP) == best and best.seconds == 1e-6
    assert prune(store, keep=2) == 0


def test_prune_keeps_what_won_against_the_baseline(store):
    """A lucky candidate that did not is no reason to forget it: builds would not use that."""
    lucky = trial(seconds=1e-6, baseline_secs=(1e-6,), trace=[[], [[0, 1]]])
    won = trial(seconds=2e-6, baseline_secs=(3e-6,), trace=[[], [[0, 2]]], confirmed=True)
    store.add([Entry(encode(line)) for line in (lucky, won)])
    assert prune(store, keep=1) == 1
    assert [entry.line for entry in store.find(workload(0))] == [won]


def test_prune_keeps_that_a_kernel_lost_here_which_won_elsewhere(store):
    times = {"kernel": "a" * 16, "baseline_secs": (3e-6,)}
    lost = trial(seconds=4e-6, **times)
    better = trial(seconds=3e-6, baseline_secs=(3e-6,), trace=[[], [[0, 2]]])
    won = trial(seconds=2e-6, device=LAPTOP, confirmed=True, **times)
    store.add([Entry(encode(line)) for line in (lost, better, won)])
    assert prune(store, keep=1) == 0


def test_statistics(store):
    store.add([*records(16), Entry(encode(trial(run_secs=(), error="x", date="2027-01-01")))])
    numbers = statistics(store)
    assert (numbers.records, numbers.failed, numbers.workloads) == (17, 1, 8)
    assert (numbers.finished, numbers.defined, numbers.problems) == (0, 0, [])
    assert numbers.devices == {"Desktop 9000": 17}
    assert (numbers.oldest, numbers.newest) == ("2026-11-22T00:00:00+00:00", "2027-01-01")


def test_a_row_that_was_tampered_with_is_reported(tmp_path):
    import sqlite3

    store = open_store(tmp_path / "x.db")
    store.add(records(3, workloads=1))
    store.close()
    with sqlite3.connect(tmp_path / "x.db") as connection:
        for index, line in enumerate(["{torn", records(9)[8].text.decode(), b"\xff\0"]):
            change = "UPDATE tvmcomp_records SET line = ? WHERE digest = ?"
            connection.execute(change, (line, records(3, workloads=1)[index].digest))
    store = open_store(tmp_path / "x.db")
    assert store.find(workload(0)) == [] and len(store.problems) == 3
    assert statistics(store).records == 0


def test_rows_that_a_file_could_not_hold_are_refused(tmp_path):
    """Each has the digest of its line; the first is no text at all."""
    import sqlite3

    good = records(4, workloads=1)
    store = open_store(tmp_path / "x.db")
    store.add(good)
    lines = [b"\xff", good[1].text.replace(b',"date"', b',\n"date"'), good[2].text + b" "]
    with sqlite3.connect(tmp_path / "x.db") as connection:
        for entry, line in zip(good, lines, strict=False):
            change = (
                "UPDATE tvmcomp_records SET line = CAST(? AS TEXT), digest = ? WHERE digest = ?"
            )
            connection.execute(change, (line, digest_of(line), entry.digest))
    into = open_store(tmp_path / "into")
    assert merge(store, into).added == 1 and len(store.problems) == 3
    assert [entry.text for entry in into.find(workload(0))] == [good[3].text]


@pytest.mark.parametrize("suffix", ["", ".db"])
def test_a_merge_that_was_cut_off_goes_on(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr("tvmcomp.tuning.log.merge._WRITTEN_AT_ONCE", 10)
    source = open_store(tmp_path / "source")
    source.add(records(100, workloads=20))
    into = open_store(tmp_path / f"into{suffix}")

    def stop(read):
        if read > 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(source, into, stop)
    there = len(everything(into))
    assert 50 < there < 100
    assert merge(source, open_store(tmp_path / f"into{suffix}")).added == 100 - there


def test_prune_does_not_bring_back_what_was_taken_back(store):
    """Since then the system was updated, and the target has another name."""
    updated = msgspec.structs.replace(DESKTOP, kernel="6.1", governor="performance")
    renamed = msgspec.structs.replace(SKYLAKE, name="mine")
    times = {"run_secs": (1e-3,), "baseline_secs": (2e-3,)}
    store.add([Entry(encode(trial(**times, confirmed=True)))])
    late = trial(**times, device=updated, target=renamed, date="2027-01-01T00:00:00+00:00")
    store.add([Entry(encode(late))])
    prune(store, keep=1)
    (found,) = TuningLog([store]).ranked(workload(0), SKYLAKE)
    assert not found.record.confirmed
