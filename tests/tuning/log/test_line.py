import json
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import trial

from tvmcomp.tuning.log.line import MAX_LINE_BYTES, Entry, decode, encode, entries_of
from tvmcomp.tuning.log.record import OWN_RUNTIME, Definition, Finished
from tvmcomp.tuning.log.schema import PATH, json_schema, schema_text


def finished(trials=64, **fields):
    like = trial()
    names = ("workload", "target", "device", "versions", "date")
    return Finished(**{name: getattr(like, name) for name in names}, trials=trials, **fields)


def definition():
    like = trial()
    common = {name: getattr(like, name) for name in ("workload", "versions", "date")}
    return Definition(**common, module="eJw=")


@pytest.mark.parametrize(
    "line", [trial(), finished(), definition()], ids=lambda x: type(x).__name__
)
def test_round_trip(line):
    text = encode(line)
    assert b"\n" not in text and decode(text) == line
    entry = Entry(text)
    assert entry.line == line and entry.workload == line.workload.hash
    assert entry.summary.type == json.loads(text)["type"]


def test_a_record_of_before_the_own_runtime_says_so():
    older = json.loads(encode(trial()))
    del older["runtime"]
    assert decode(json.dumps(older).encode()).runtime == "tvm"
    assert decode(encode(trial(runtime=OWN_RUNTIME))).runtime == OWN_RUNTIME == "tvmcomp"


def test_seconds_are_the_median():
    assert trial(run_secs=(0.002, 0.001, 0.003)).seconds == 0.002


def test_identity_is_the_content():
    assert Entry(encode(trial())).digest == Entry(encode(trial())).digest
    assert Entry(encode(trial())).digest != Entry(encode(trial(seconds=2e-3))).digest


def test_fields_of_a_later_version_are_ignored():
    line = {**msgspec.to_builtins(trial()), "colour": "blue"}
    assert decode(msgspec.json.encode(line)) == trial()


WRONG = [
    {"schema": 2},
    {"schema": "1"},
    {"schema": 10**400},
    {"type": "pickle"},
    {"run_secs": [1e300]},
    {"run_secs": [-1.0]},
    {"run_secs": [0]},
    {"run_secs": [10**400]},
    {"run_secs": "fast"},
    {"run_secs": [1e-20]},
    {"baseline_secs": [1e-3, 1e-3]},
    {"choices": {"tile": 10**400}},
    {"choices": {"tile": 2**60}},
    {"trace": {"a": 1}},
    {"kernel": "../../x"},
    {"workload": {"hash": "../../etc/passwd", "name": "x", "arguments": []}},
    {"workload": {"hash": "0" * 16, "name": "x", "arguments": [{"dtype": "f", "shape": [-1]}]}},
    {"date": "x" * 5000},
    {"device": None},
]


@pytest.mark.parametrize("change", WRONG, ids=lambda change: str(change)[:60])
def test_wrong_values_are_refused(change):
    with pytest.raises(ValueError, match=r"."):
        decode(msgspec.json.encode({**msgspec.to_builtins(trial()), **change}))


def test_an_unknown_schema_says_so():
    text = msgspec.json.encode({"schema": 7, "type": "trial", "run_secs": "otherwise"})
    with pytest.raises(ValueError, match="schema 7 is not supported"):
        Entry(text)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"schema":1}',
        b"\xff\xfe",
        encode(trial())[:-1] + b',"unknown":"\xff"}',
        b'{"schema":1,"run_secs":[NaN]}',
        b'{"schema":1,"trace":' + b"[" * 100_000,
        b'{"trace":' + b"[" * 100_000 + b"]" * 100_000 + b"," + encode(trial())[1:],
        b" " * (MAX_LINE_BYTES + 1),
    ],
    ids=lambda text: repr(text[:40]),
)
def test_torn_and_hostile_lines_are_refused(text):
    with pytest.raises(ValueError, match=r"."):
        decode(text)


def test_a_line_cut_anywhere_is_refused():
    line = encode(trial())
    for length in range(len(line)):
        with pytest.raises(ValueError, match=r"."):
            Entry(line[:length])


def test_joined_lines_are_told_apart():
    one, other = encode(trial()), encode(finished())
    for torn in (b"", one[:-1], one[:5], one[: len(one) // 2]):
        found = list(entries_of(torn + other + b"\n"))
        assert [e.text for e in found if isinstance(e, Entry)] == [other]
        assert len(found) == 1 + bool(torn)
    assert [entry.text for entry in entries_of(one + other)] == [one, other]
    assert list(entries_of(b" \r\n")) == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
FIELDS = sorted(msgspec.to_builtins(trial()))


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), json_values, min_size=1), st.integers(0, 10**6))
def test_fuzzed_records_parse_or_are_refused(changes, seed):
    """Any values in any fields, and bytes changed: ValueError, or a record that is written back."""
    text = bytearray(json.dumps({**msgspec.to_builtins(trial()), **changes}).encode())
    choose = random.Random(seed)
    for _ in range(seed % 3):
        text[choose.randrange(len(text))] = choose.randrange(256)
    try:
        line = decode(bytes(text))
    except ValueError:
        return
    assert decode(encode(line)) == line


def test_the_published_schema_is_current():
    assert PATH.read_text() == schema_text(), "run python -m tvmcomp.tuning.log.schema"


def test_the_schema_describes_the_lines():
    jsonschema = pytest.importorskip("jsonschema")
    check = jsonschema.Draft202012Validator(json.loads(schema_text()))
    for line in (trial(), finished(), definition()):
        check.validate(json.loads(encode(line)))
    for change in WRONG:
        if change.get("run_secs") != [10**400]:  # no reader would call that a number out of range
            assert list(check.iter_errors({**msgspec.to_builtins(trial()), **change})), change
    assert set(json_schema()["$defs"]) >= {"Trial", "Finished", "Definition"}
