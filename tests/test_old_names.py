"""Names of the API that were others: they work, and a note says so."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest
from small_artifacts import dense_artifact

import tvmcomp
from tvmcomp.errors import TvmcompError
from tvmcomp.old_names import renamed
from tvmcomp.tuning.events import TaskSummary, TuneSummary


@pytest.mark.parametrize(
    ("function", "old", "value", "new"),
    [
        (tvmcomp.build, "cc", "gcc", "linker"),
        (tvmcomp.build, "golden", False, "reference"),
        (tvmcomp.tune, "cc", "gcc", "linker"),
    ],
)
def test_an_argument_by_its_old_name_is_noted(tmp_path, function, old, value, new):
    with (
        pytest.warns(FutureWarning, match=f"`{old}` is called `{new}`") as noted,
        pytest.raises(TvmcompError),
    ):
        function(tmp_path / "none.onnx", log=tmp_path / "log", **{old: value})
    assert noted[0].filename == __file__  # the line that wrote the old name


def test_the_old_name_gives_the_value():
    with pytest.warns(FutureWarning):
        assert renamed("golden", False, "reference", True) is False
    assert renamed("golden", None, "reference", True) is True


def test_an_artifacts_golden_is_its_reference():
    artifact = dense_artifact()
    with pytest.warns(FutureWarning, match="reference"):
        assert artifact.golden is artifact.reference


def test_summaries_of_tuning_know_their_old_attributes():
    task = TaskSummary("relu", 1, "tuned", 2.0, 1.0, 9, {})
    summary = TuneSummary((task,), 1.0, False, "log", baseline_seconds=3.0)
    with pytest.warns(FutureWarning, match="baseline_seconds"):
        assert (task.untuned_seconds, summary.untuned_seconds) == (2.0, 3.0)
    with pytest.warns(FutureWarning, match="incumbent_seconds"):
        assert task.best_seconds == 1.0
    # In JSON they are what scripts know.
    written = msgspec.to_builtins(summary)
    assert written["untuned_seconds"] == 3.0 and written["tasks"][0]["best_seconds"] == 1.0
    assert msgspec.json.decode(msgspec.json.encode(summary), type=TuneSummary) == summary


def test_the_note_is_on_standard_error():
    program = "from tvmcomp.old_names import renamed\nrenamed('cc', 'gcc', 'linker', None)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert "`cc` is called `linker` now" in done.stderr and not done.stdout


def test_the_package_runs_as_a_command():
    done = subprocess.run(
        [sys.executable, "-m", "tvmcomp", "--help"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "tvmcomp build model.onnx" in done.stdout


def test_everything_that_is_exported_is_there():
    assert all(callable(getattr(tvmcomp, name)) for name in tvmcomp.__all__ if "__" not in name)
    assert {"bench", "build", "evaluate", "load", "tune"} <= set(tvmcomp.__all__)
