import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tvmcomp import targets
from tvmcomp.errors import LogError
from tvmcomp.fingerprint import local_fingerprint
from tvmcomp.tuning import open_store
from tvmcomp.tuning.record import Finished, decode, encode
from tvmcomp.tuning.store import Store


def finished_like(trial, trials, **fields):
    common = {name: getattr(trial, name) for name in ("workload", "target", "device", "versions")}
    return Finished(**common, date=trial.date, trials=trials, **fields)


def test_best_is_the_fastest_that_ran(tmp_path, relu, native, make_trial):
    store = Store(tmp_path)
    assert store.best(relu, native) is None
    slow, fast = make_trial(relu, [0.002]), make_trial(relu, [0.001])
    for trial in (slow, fast, make_trial(relu, [], error="run crash: SIGSEGV")):
        store.append(trial)
    assert store.best(relu, native) == fast
    assert Store(tmp_path).ranked(relu, native) == [fast, slow]
    assert len(store.trials(relu, native)) == 3


def test_another_kernel_has_no_record(tmp_path, relu, matmul, native, make_trial):
    store = Store(tmp_path)
    store.append(make_trial(relu))
    assert store.best(matmul, native) is None


def test_attributes_of_the_build_do_not_hide_a_record(tmp_path, relu, native, make_trial):
    store = Store(tmp_path)
    store.append(make_trial(relu))
    renamed = relu.with_attr("global_symbol", "fused_relu_7").with_attr("op_pattern", 2)
    assert store.best(renamed, native) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"family": "arm", "triple": "aarch64-linux-gnu"},
        {"features": ("avx2",)},
        {"dot_product": "amx_int8"},
        {"vector_bits": 1024},
    ],
    ids=str,
)
def test_another_instruction_set_never_gets_the_record(tmp_path, relu, native, make_trial, change):
    store = Store(tmp_path)
    store.append(make_trial(relu))
    other = msgspec.structs.replace(native, **change)
    assert store.best(relu, other) is None
    # Nor does the same name help, or the folder it lies in.
    store.append(make_trial(relu, [1e-6], target=other))
    assert store.best(relu, native).seconds == 0.002


def test_shipped_targets_do_not_share_records(tmp_path, relu, make_trial):
    store = Store(tmp_path)
    store.append(make_trial(relu, target=targets.load("sapphirerapids")))
    assert store.best(relu, targets.load("sapphirerapids"))
    for name in ("cascadelake", "x86-64-v3", "arm", "rpi5", "cuda"):
        if name in targets.names() and name != "cuda":
            assert store.best(relu, targets.load(name)) is None, name


def test_records_of_the_same_device_go_first(tmp_path, relu, native, make_trial):
    store = Store(tmp_path)
    here = local_fingerprint()
    elsewhere = msgspec.structs.replace(here, cpu="another CPU")
    store.append(make_trial(relu, [0.001], device=elsewhere))
    store.append(make_trial(relu, [0.002], device=here))
    assert store.best(relu, native).seconds == 0.001
    assert store.best(relu, native, here).seconds == 0.002


def test_finished_searches(tmp_path, relu, matmul, native, make_trial):
    store = Store(tmp_path)
    store.append(make_trial(relu))
    assert not store.finished(relu, native, 1)
    store.append(finished_like(make_trial(relu), 32))
    assert store.finished(relu, native, 32)
    assert not store.finished(relu, native, 33)
    assert not store.finished(matmul, native, 1)
    store.append(finished_like(make_trial(relu), 32, exhausted=True))
    assert store.finished(relu, native, 1000)


def test_torn_last_line_is_reported_and_stays_alone(tmp_path, relu, native, make_trial):
    store = Store(tmp_path)
    store.append(make_trial(relu, [0.001]))
    file = tmp_path / native.name / "records.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:-40])  # a writer was killed within its second record
    reader = Store(tmp_path)
    assert reader.best(relu, native).seconds == 0.001
    assert len(reader.problems) == 1 and "records.jsonl at byte" in reader.problems[0]
    store.append(make_trial(relu, [0.0005]))
    again = Store(tmp_path)
    assert again.best(relu, native).seconds == 0.0005
    assert len(again.trials(relu, native)) == 2 and len(again.problems) == 1
    assert file.read_bytes().startswith(whole)


def test_malformed_lines_are_skipped_with_a_reason(tmp_path, relu, native, make_trial):
    good = encode(make_trial(relu))
    bad = [b"not json\n", b'{"schema": 9}\n', b'{"schema": 1, "type": "trial"}\n', b"\n", b"\0\n"]
    file = tmp_path / "any" / "records.jsonl"
    file.parent.mkdir()
    file.write_bytes(good + b"".join(bad) + good)
    store = Store(tmp_path)
    assert len(store.trials(relu, native)) == 2
    assert len(store.problems) == 4  # an empty line is none


def test_joined_files_are_a_log(tmp_path, relu, matmul, native, make_trial):
    lines = [encode(make_trial(func)) for func in (relu, matmul, relu)]
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "records.jsonl").write_bytes(b"".join(reversed(lines)))
    store = Store(tmp_path)
    assert store.best(relu, native) and store.best(matmul, native) and not store.problems


def test_what_another_process_appends_is_seen(tmp_path, relu, native, make_trial):
    mine, theirs = Store(tmp_path), Store(tmp_path)
    assert mine.best(relu, native) is None
    theirs.append(make_trial(relu))
    assert mine.best(relu, native) is not None


def test_second_folder_is_read_and_not_written(tmp_path, relu, native, make_trial):
    Store(tmp_path / "shipped").append(make_trial(relu, [0.001]))
    before = (tmp_path / "shipped" / native.name / "records.jsonl").read_bytes()
    store = Store(tmp_path / "own", also_read=[tmp_path / "shipped"])
    assert store.best(relu, native).seconds == 0.001
    store.append(make_trial(relu, [0.002]))
    assert (tmp_path / "shipped" / native.name / "records.jsonl").read_bytes() == before
    assert len(store.trials(relu, native)) == 2


def test_default_place_is_the_users_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert open_store().folder == tmp_path / "tvmcomp" / "tuning_logs"
    assert open_store("here").folder == Path("here")


def test_a_targets_name_does_not_lead_out_of_the_log(tmp_path, relu, native, make_trial):
    evil = msgspec.structs.replace(native, name="../../evil")
    store = Store(tmp_path / "log")
    store.append(make_trial(relu, target=evil))
    assert [path.parent.parent for path in tmp_path.rglob("records.jsonl")] == [tmp_path / "log"]


def test_unwritable_log_is_a_clear_error(tmp_path, relu, make_trial):
    (tmp_path / "log").write_text("a file, not a folder")
    with pytest.raises(LogError, match="can't write"):
        Store(tmp_path / "log").append(make_trial(relu))


_WRITER = """
import sys
from pathlib import Path
from tvmcomp.tuning.record import decode
from tvmcomp.tuning.store import Store
line = decode(Path(sys.argv[2]).read_bytes())
store = Store(Path(sys.argv[1]))
for _ in range(200):
    store.append(line)
"""


def test_many_writers_tear_nothing(tmp_path, relu, native, make_trial):
    one = tmp_path / "one.json"
    one.write_bytes(encode(make_trial(relu, trace=([["X", [], ["y" * 5000], []]], []))).strip())
    command = [sys.executable, "-c", _WRITER, str(tmp_path / "log"), str(one)]
    writers = [subprocess.Popen(command) for _ in range(3)]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    store = Store(tmp_path / "log")
    assert len(store.trials(relu, native)) == 600 and not store.problems


def test_full_disk_leaves_the_log_whole(tmp_path, relu, native, make_trial):
    """A file size limit stands for the full disk: the write comes back short."""
    one = tmp_path / "one.json"
    one.write_bytes(encode(make_trial(relu)).strip())
    script = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
    script += "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))" + _WRITER
    command = [sys.executable, "-c", script, str(tmp_path / "log"), str(one)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "LogError" in done.stderr
    lines = (tmp_path / "log" / native.name / "records.jsonl").read_bytes().splitlines(True)
    assert lines and all(line.endswith(b"\n") and decode(line.strip()) for line in lines)
