"""What holds for any records, any targets and any bytes: found by hypothesis, not by example."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from made_up import AMX, DESKTOP, LAPTOP, PI, SKYLAKE, records, trial, workload

from tvmcomp.targets import TargetDescription
from tvmcomp.targets.fingerprint import Fingerprint
from tvmcomp.tuning.log.folder import FolderStore
from tvmcomp.tuning.log.line import Entry, encode
from tvmcomp.tuning.log.merge import merge
from tvmcomp.tuning.log.places import open_store
from tvmcomp.tuning.log.record import InstructionSet
from tvmcomp.tuning.log.store import bucket_of
from tvmcomp.tuning.log.tuning_log import TuningLog

DEVICES = (DESKTOP, LAPTOP, Fingerprint(cpu=""))


@contextmanager
def empty_folder():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def everything(store):
    return {entry.digest for bucket in store.buckets() for entry in store.read(bucket)}


@st.composite
def some_trials(draw):
    """A few trials of two workloads: the same candidates with other times, errors, devices."""
    times = draw(st.lists(st.sampled_from([1e-6, 2e-3, 0.5]), max_size=3))
    trace = [[["GetSBlock", [], [draw(st.sampled_from("yz")), "main"], ["b0"]]], []]
    return trial(
        draw(st.integers(0, 1)),
        run_secs=tuple(times),
        error=None if times else "run crash: x",
        trace=trace,
        target=draw(st.sampled_from([SKYLAKE, AMX, PI])),
        device=draw(st.sampled_from(DEVICES)),
        date=draw(st.sampled_from(["2026-11-22T00:00:00+00:00", "2027-01-01T00:00:00+00:00"])),
        is_baseline=draw(st.booleans()),
    )


def look_ups(log):
    """All that a build could be given."""
    return [
        [(each.id, each.seconds, each.reason) for each in log.ranked(workload(i), target, device)]
        for i in range(2)
        for target in (SKYLAKE, AMX, PI)
        for device in (None, *DEVICES)
    ]


@settings(max_examples=40, deadline=None)
@given(st.lists(some_trials(), max_size=6), st.lists(some_trials(), max_size=6))
def test_a_merge_gives_the_same_in_either_order(ours, theirs):
    with empty_folder() as folder:
        sources = [open_store(folder / "ours"), open_store(folder / "theirs.db")]
        for source, lines in zip(sources, (ours, theirs), strict=True):
            source.add([Entry(encode(line)) for line in lines])
        results = []
        for name, order in (("a", sources), ("b.db", sources[::-1])):
            into = open_store(folder / name)
            for source in order:
                merge(source, into)
            results.append((everything(into), look_ups(TuningLog([into]))))
            into.close()
        sources[1].close()
    assert results[0] == results[1]
    assert results[0][0] == {Entry(encode(line)).digest for line in [*ours, *theirs]}


@st.composite
def some_targets(draw):
    family, triple, products = draw(
        st.sampled_from(
            [
                ("x86", "x86_64-linux-gnu", ("amx_int8", "avx512_vnni", "generic")),
                ("arm", "aarch64-linux-gnu", ("i8mm", "sdot", "generic")),
                ("arm", "armv7-linux-gnueabihf", ("smlal", "generic")),
                ("riscv", "riscv64-linux-gnu", ("generic",)),
            ]
        )
    )
    return TargetDescription(
        name=draw(st.sampled_from(["native", "rpi4"])),
        description="",
        family=family,
        triple=triple,
        features=tuple(draw(st.sets(st.sampled_from(["amx-int8", "avx512f", "dotprod", "neon"])))),
        cores=draw(st.integers(1, 4)),
        dot_product=draw(st.sampled_from(products)),
        vector_bits=draw(st.sampled_from([128, 512])),
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(some_targets(), min_size=1, max_size=5), some_targets(), st.sampled_from(DEVICES))
def test_a_look_up_never_leaves_the_instruction_set(measured, asked, device):
    with empty_folder() as folder:
        log = TuningLog([FolderStore(folder)])
        lines = [
            trial(seconds=1e-3, target=target, trace=[[], [[0, index]]])
            for index, target in enumerate(measured)
        ]
        log.append(*lines)
        wanted = InstructionSet.of(asked)
        found = [each.record for each in log.ranked(workload(0), asked, device)]
        fitting = [line for line in lines if line.target.instruction_set == wanted]
        assert sorted(map(repr, found)) == sorted(map(repr, fitting))
        assert {repr(line) for line in log.trials(workload(0), asked)} == set(map(repr, found))


GOOD = [entry.text for entry in records(6, workloads=2)]
TORN = st.builds(lambda text, length: text[:length], st.sampled_from(GOOD), st.integers(0, 300))
CHANGED = st.builds(
    lambda text, at, byte: text[: at % len(text)] + byte + text[at % len(text) + 1 :],
    st.sampled_from(GOOD),
    st.integers(0, 2000),
    st.binary(max_size=2),
)
LINES = st.lists(st.sampled_from(GOOD) | TORN | CHANGED | st.binary(max_size=40), max_size=12)
NAMES = st.sampled_from(["all.jsonl", "skylake/all.jsonl", f"x/{bucket_of(workload(0))}.jsonl"])


@settings(max_examples=150, deadline=None)
@given(LINES, NAMES, st.booleans())
def test_whatever_is_in_a_file_its_records_are_found_and_its_bytes_stay(lines, name, ends):
    """Any bytes between whole lines: those are found, the rest is reported and kept."""
    content = b"\n".join(lines) + (b"\n" if ends else b"")
    with empty_folder() as folder:
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        store = FolderStore(folder)
        whole = {text for line in lines for text in line.split(b"\n") if text in GOOD}
        found = {entry.text for bucket in store.buckets() for entry in store.read(bucket)}
        assert whole <= found
        assert all(text in content for text in found)
        assert file.read_bytes() == content
        added = Entry(encode(trial(0, seconds=123.0)))
        if added.digest not in everything(store):
            assert store.add([added]) == 1
        kept = b"".join(path.read_bytes() for path in sorted(folder.rglob("*.*")) if path.is_file())
        for line in content.split(b"\n"):
            assert line.strip() in kept
        again = FolderStore(folder)
        assert added.text in {entry.text for entry in again.find(workload(0))}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
PLACES = ["schema", "type", "workload", "target", "device", "versions", "date", "trace", "run_secs"]


@pytest.mark.slow
@pytest.mark.ci
@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(PLACES), JSON, min_size=1, max_size=2))
def test_hostile_values_never_hide_a_good_record(changes):
    assume(changes.get("trace") != [[], []])  # else it is one more measurement of the same
    bad = msgspec.json.encode({**msgspec.to_builtins(trial(seconds=1e-12)), **changes})
    with empty_folder() as folder:
        good = encode(trial(seconds=1e-3, trace=[[], []]))
        (folder / "team.jsonl").write_bytes(bad + b"\n" + good + b"\n")
        log = TuningLog([FolderStore(folder)])
        found = [each.seconds for each in log.ranked(workload(0), SKYLAKE, DESKTOP)]
        assert 1e-3 in found
        assert len(list(log.entries())) == 2 or log.problems
