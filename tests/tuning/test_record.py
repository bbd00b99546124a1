import msgspec
import pytest

from tvmcomp.tuning.record import MAX_LINE_BYTES, Finished, decode, encode


def test_round_trip(relu, make_trial):
    trial = make_trial(relu, trace=([["GetSBlock", [], ["y", "main"], ["b0"]]], []))
    line = encode(trial)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert decode(line.strip()) == trial
    assert trial.seconds == 0.002  # the median


def test_finished_round_trip(relu, make_trial):
    trial = make_trial(relu)
    common = {name: getattr(trial, name) for name in ("workload", "target", "device", "versions")}
    finished = Finished(**common, date=trial.date, trials=64)
    assert decode(encode(finished).strip()) == finished


def test_fields_of_a_later_version_are_ignored(relu, make_trial):
    line = {**msgspec.to_builtins(make_trial(relu)), "colour": "blue"}
    assert decode(msgspec.json.encode(line)) == decode(encode(make_trial(relu)).strip())


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"schema": "1"},
        {"type": "pickle"},
        {"run_secs": [1e300]},
        {"run_secs": [-1.0]},
        {"run_secs": [0]},
        {"run_secs": "fast"},
        {"trace": {"a": 1}},
        {"workload": {"hash": "../../etc/passwd", "name": "x", "arguments": []}},
        {"date": "x" * 5000},
        {"device": None},
    ],
    ids=str,
)
def test_wrong_values_are_refused(relu, make_trial, change):
    line = {**msgspec.to_builtins(make_trial(relu)), **change}
    with pytest.raises(ValueError, match=r"."):
        decode(msgspec.json.encode(line))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"schema": 1}',
        b"\xff\xfe",
        b'{"schema": 1, "run_secs": [NaN]}',
        b'{"schema": 1, "trace": ' + b"[" * 100_000,
        b" " * (MAX_LINE_BYTES + 1),
    ],
    ids=lambda text: repr(text[:40]),
)
def test_torn_and_hostile_lines_are_refused(text):
    with pytest.raises(ValueError, match=r"."):
        decode(text)


def test_a_line_cut_anywhere_is_refused(relu, make_trial):
    line = encode(make_trial(relu)).strip()
    for length in range(0, len(line), 7):
        with pytest.raises(ValueError, match=r"."):
            decode(line[:length])
