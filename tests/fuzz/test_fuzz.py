"""A few hundred mutated inputs of each kind, and the fuzzer itself: it sees what it must see."""

from __future__ import annotations

from pathlib import Path

import campaign
import pytest
import worker

#: As many as take some seconds.
INPUTS = {"artifact": 200, "log": 60, "onnx": 60, "samples": 150, "tflite": 150, "toml": 100}


@pytest.mark.slow
@pytest.mark.ci
def test_no_input_is_answered_with_anything_but_a_value_or_one_error() -> None:
    inputs = [(kind, number) for kind, count in INPUTS.items() for number in range(count)]
    findings = campaign.campaign(inputs)
    assert not findings.groups, "\n".join(findings.lines())
    for kind, count in INPUTS.items():
        counts = findings.verdicts[kind]
        assert counts["read"] + counts["refused"] == count
        assert counts["read"] and counts["refused"]  # neither harmless only, nor rubbish only


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ("pass", "read"),
        ("raise TvmcompError('no')", "refused"),
        ("raise KeyError('x')", "internal error"),
        ("assert not path", "wrong"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crash"),
        ("while True: pass", "hang"),
        pytest.param("time.sleep(1000)", "hang", marks=pytest.mark.slow),
        ("bytearray(1500 << 20)[::4096]", "memory"),
        ("bytearray(1 << 40)", "internal error"),
    ],
)
def test_what_a_reader_does_is_seen(
    body: str, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reader.py").write_text(
        "import os, signal, time\n"
        "from tvmcomp.errors import TvmcompError\n"
        "def make(rng, folder):\n    return folder\n"
        f"def read(path):\n    {body}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    reader = campaign.Worker(["reader"], cpu_seconds=3, wall_seconds=30)
    try:
        assert reader.ask("reader", 0)["verdict"] == verdict
    finally:
        reader.close()


def test_a_number_gives_the_same_input_again(tmp_path: Path) -> None:
    for kind in worker.KINDS:
        for folder in ("first", "second"):
            worker.run(kind, 7, keep=tmp_path / kind / folder)
        first, second = (
            {
                path.relative_to(folder): path.read_bytes() if path.is_file() else b""
                for path in folder.rglob("*")
            }
            for folder in (tmp_path / kind / "first", tmp_path / kind / "second")
        )
        assert first and first.keys() == second.keys()
        assert kind in ("artifact", "log") or first == second  # those hold dates
