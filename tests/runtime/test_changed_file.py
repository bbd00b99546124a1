"""What becomes of an artifact's file is nothing to a session that was loaded from it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_artifacts import dense_artifact, one_kernel_artifact

from tvmcomp.runtime.session import load

INPUTS = {"x": np.ones((1, 8), "float32")}


def _overwrite(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(b"\x3f" * size)


def _copy_over(path: Path) -> None:
    other = path.with_name("other.tvmc")
    one_kernel_artifact("double").save(other)
    shutil.copyfile(other, path)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.truncate(path, 0),
        lambda path: os.truncate(path, 4096),
        _overwrite,
        _copy_over,
        lambda path: dense_artifact(with_reference=False).save(path),
        Path.unlink,
    ],
)
def test_a_loaded_session_runs_on(change: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "net.tvmc"
    dense_artifact().save(path)
    untouched = load(path)
    used = load(path)
    before = used.run(INPUTS)
    change(path)
    for session in (used, untouched):
        after = session.run(INPUTS)
        assert all(np.array_equal(before[name], after[name]) for name in before)
