"""What a network costs on the target: what is asked of the commands, and what comes of failures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from needed import package
from networks import classifier, images

package("torch", "compress")

import tvmcomp  # noqa: E402
from tvmcomp.compress import measure  # noqa: E402
from tvmcomp.compress.measure import Measurement  # noqa: E402
from tvmcomp.progress import NoProgress  # noqa: E402


@pytest.fixture
def model(tmp_path: Path) -> onnx.ModelProto:
    return onnx.load(classifier(tmp_path / "net.onnx"))


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list:
    """Each command that is given, with an answer that is made up; a device is never there."""
    given: list[tuple[str, ...]] = []

    def answer(*arguments):
        words = tuple(map(str, arguments))
        given.append(words)
        if "--device" in words:
            return {}, "error: 10.0.0.1: no answer"
        if words[0] == "build":
            Path(words[words.index("-o") + 1]).touch()
        turn = sum(1 for each in given if each[:2] == words[:2])
        return {
            "build": {"artifact_bytes": 1000, "constants_bytes_in_file": 600},
            "bench": {"p50_ms": 3.0 - turn, "p99_ms": 5.0, "peak_memory_mib": 40.0},
            "eval": {"value": 91.0},
        }[words[0]], None

    monkeypatch.setattr(measure, "run_tvmcomp", answer)
    return given


def measurement(folder: Path, **changes) -> Measurement:
    samples = [{"x": each[None]} for each in images(12, 3, 16, 16)]
    options = {"target": "native", "device": None, "metric": "agreement", "labels": None}
    return Measurement(folder=folder, calibration=samples, judge=samples, **{**options, **changes})


def test_networks_are_built_and_timed_in_turns(model, commands, tmp_path):
    sides = measurement(tmp_path).sides({"before": model, "after": model}, True, NoProgress())
    assert [words[0] for words in commands[:4]] == ["build"] * 4
    timed = [Path(words[1]).name for words in commands if words[0] == "bench"]
    order = ["before.float.tvmc", "before.int8.tvmc", "after.float.tvmc", "after.int8.tvmc"]
    assert timed == order * 2
    int8 = next(words for words in commands if "--calibration" in words)
    with np.load(int8[int8.index("--calibration") + 1]) as data:
        assert data["x"].shape == (12, 1, 3, 16, 16)
    built = sides["after"].builds["int8"]
    # The better of two turns counts.
    assert (built.p50_ms, built.artifact_bytes, built.constants_bytes) == (1.0, 1000, 600)
    assert built.score == 91.0 and sides["before"].builds["float"].score is None
    assert sides["before"].macs == sides["after"].macs > 0
    assert sides["before"].parameters == 1408 + 16 + 16 + 32 + 10


def test_labels_go_along_and_then_no_float_network_is_needed(model, commands, tmp_path):
    labels = np.arange(12) % 10
    measurement(tmp_path, metric="top1", labels=labels).sides({"before": model}, True, NoProgress())
    evaluations = [words for words in commands if words[0] == "eval"]
    assert len(evaluations) == 2 and all("--float" not in words for words in evaluations)
    with np.load(evaluations[0][evaluations[0].index("--data") + 1]) as data:
        np.testing.assert_array_equal(data["label"], labels)


def test_what_fails_is_told_of(model, commands, tmp_path):
    sides = measurement(tmp_path, device="10.0.0.1:9090").sides(
        {"after": model}, True, NoProgress()
    )
    built = sides["after"].builds["float"]
    assert built.artifact_bytes == 1000 and built.p50_ms is None
    assert built.problem == "error: 10.0.0.1: no answer"


def test_without_measuring_it_is_only_counted(model, commands, tmp_path):
    sides = measurement(tmp_path).sides({"after": model}, False, NoProgress())
    assert not commands and sides["after"].builds == {}
    assert sides["after"].onnx_bytes == (tmp_path / "after.onnx").stat().st_size


def test_the_commands_answer_as_they_are_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "_TURNS", 1)
    model = classifier(tmp_path / "net.onnx")
    samples = [{"x": each[None]} for each in images(40, 3, 16, 16)]
    proof = tvmcomp.compress(model, None, samples, bits=4, max_drop=100).proof
    before, after = proof.before.builds, proof.after.builds
    assert set(before) == {"float", "int8"} and set(after) == {"int8"}
    for built in (*before.values(), *after.values()):
        assert built.problem is None
        assert 0 < built.p50_ms <= built.p99_ms and built.peak_memory_mib > 10
    assert after["int8"].constants_bytes < before["float"].constants_bytes / 3
    assert after["int8"].score == pytest.approx(proof.score.after, abs=30)
