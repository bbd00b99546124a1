"""Names of the API that were others: they work, and a note says so."""

from __future__ import annotations

import subprocess
import sys

import pytest
from small_artifacts import dense_artifact

import tvmcomp
from tvmcomp.errors import TvmcompError
from tvmcomp.old_names import renamed


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
