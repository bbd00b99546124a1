"""Comparing two artifacts: what is worse, beyond noise, in what is required."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from small_artifacts import (
    dense_artifact,
    dense_reference,
    dense_weights,
    one_kernel_artifact,
)

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.cli.main import cli
from tvmcomp.report.compare import (
    Comparison,
    accuracy_change,
    format_changes,
    likeness_change,
    measured_changes,
    size_changes,
)
from tvmcomp.report.measured import Measured, MeasuredPair
from tvmcomp.runtime.evaluate import Evaluation

SMALL, LARGE = dense_artifact(with_reference=False), dense_artifact()


def pair(ratio: float, low: float, high: float, memory: float = 10.0) -> MeasuredPair:
    one = Measured("here", 1, (1.0,), 1.0, 1.0, 1.0, {}, 1.0, 10.0)
    return MeasuredPair(one, replace(one, peak_memory_mib=memory), ratio, (low, high))


def verdicts(measured: MeasuredPair) -> dict[str, str]:
    return {each.requirement or each.title: each.verdict for each in measured_changes(measured)}


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [((1.02, 1.2), "worse"), ((0.9, 1.2), "same"), ((0.8, 0.95), "better"), ((1.0, 1.005), "same")],
)
def test_latency_is_worse_where_its_interval_is(ends: tuple[float, float], verdict: str) -> None:
    assert verdicts(pair(1.0, *ends))["latency"] == verdict


def test_memory_has_its_noise() -> None:
    assert verdicts(pair(1, 1, 1, memory=10.1))["memory"] == "same"
    assert verdicts(pair(1, 1, 1, memory=10.5))["memory"] == "worse"


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(-2, -0.1, "worse"), (-2, 1, "same"), (0.1, 2, "better")]
)
def test_accuracy_is_worse_where_all_of_its_interval_is(
    low: float, high: float, verdict: str
) -> None:
    found = Evaluation("top1", "y", "%", 100, 90, 85, 95, 91, -1, low, high)
    change = accuracy_change(found)
    assert change.verdict == verdict and change.requirement == "accuracy"


def test_likeness_is_worse_where_intervals_are_apart() -> None:
    before = Evaluation("sqnr", "y", "dB", 100, 40, 39, 41)
    assert likeness_change(before, replace(before, low=20, high=21), "o", True).verdict == "worse"
    assert likeness_change(before, replace(before, low=20, high=40), "o", True).verdict == "same"


def test_only_what_is_required_counts() -> None:
    changes = (*size_changes((SMALL, 1000), (LARGE, 1001)), *measured_changes(pair(2, 1.5, 3)))
    comparison = Comparison("a", "b", changes, ())
    assert comparison.worse_in([]) == [] and comparison.worse_in(["memory"]) == []
    assert comparison.worse_in(["size", "latency"]) == ["size", "latency"]


def test_operators_of_other_formats_are_named() -> None:
    (operator,) = LARGE.metadata.operators
    other = replace(operator, dtype="int8", reason="because")
    extra = replace(operator, name="extra")
    changed = replace(LARGE, metadata=replace(LARGE.metadata, operators=(other, extra)))
    found = [(each.operator, each.before, each.after) for each in format_changes(LARGE, changed)]
    assert found == [("dense", "float32", "int8"), ("extra", None, "float32")]
    assert format_changes(LARGE, LARGE) == []


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    folder = tmp_path_factory.mktemp("compare")
    SMALL.save(folder / "small.tvmc")
    LARGE.save(folder / "large.tvmc")
    x = np.random.default_rng(5).standard_normal((30, 1, 8)).astype("float32")
    labels = np.array([dense_reference(each, dense_weights())["y"].argmax() for each in x])
    np.savez(folder / "data.npz", x=x, label=labels)
    return folder / "small.tvmc", folder / "large.tvmc", folder / "data.npz"


def test_the_command_fails_where_the_second_is_worse(files: tuple[Path, Path, Path]) -> None:
    small, large, data = map(str, files)
    options = ["--eval", data, "--threads", "1", "--json"]
    required = ["--require", "size,accuracy"]
    done = CliRunner().invoke(cli, ["compare", small, large, large, *options, *required])
    assert done.exit_code == 1, done.output
    document = json.loads(done.stdout)
    assert document["worse"] == ["size"]
    titles = [each["title"] for each in document["changes"]]
    assert "top1 on 30 samples" in titles and "sqnr with large.tvmc on 30 samples" in titles
    done = CliRunner().invoke(cli, ["compare", large, small, "--require", "size", "--threads", "1"])
    assert done.exit_code == 0, done.output
    assert "p50 latency" in done.stdout and "better" in done.stdout


def test_wrong_requirements_are_refused(files: tuple[Path, Path, Path]) -> None:
    small, large, _ = map(str, files)
    done = CliRunner().invoke(cli, ["compare", small, large, "--require", "speed"])
    assert done.exit_code == 2 and "none of latency" in done.output
    done = CliRunner().invoke(cli, ["compare", small, large, "--require", "accuracy"])
    assert done.exit_code == 2 and "--eval" in done.output


def test_an_artifact_keeps_its_command(tmp_path: Path) -> None:
    LARGE.made_by(["tvmcomp", "build", "net.onnx"]).save(tmp_path / "a.tvmc")
    kept = Artifact.load(tmp_path / "a.tvmc").metadata.command
    assert kept == ("tvmcomp", "build", "net.onnx")


def test_two_networks_are_told_apart_from_one_built_twice(tmp_path: Path) -> None:
    paths = tmp_path / "dense.tvmc", tmp_path / "double.tvmc"
    dense_artifact().save(paths[0])
    one_kernel_artifact("double").save(paths[1])
    for after, told in ((paths[0], False), (paths[1], True)):
        done = CliRunner().invoke(cli, ["compare", str(paths[0]), str(after), "--json"])
        assert done.exit_code == 0, done.output
        notes = json.loads(done.stdout)["notes"]
        assert any("not one network built twice" in each for each in notes) == told
