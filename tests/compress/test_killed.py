"""A run that is killed, at any moment, goes on with the same command; the original is untouched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from killed_runs import KilledRuns
from needed import package
from networks import classifier, images

package("torch", "compress")


#: What it learns depends on the steps alone, and not on the clock.
RECIPE = """
[[technique]]
name = "quantize"
bits = 3
round = "nearest"

[[technique]]
name = "distil"
steps = 40
"""


@pytest.fixture
def run() -> Iterator[KilledRuns]:
    runs = KilledRuns()
    yield runs
    runs.close()


def test_killed_at_random_moments(tmp_path: Path, run: KilledRuns) -> None:
    model = classifier(tmp_path / "net.onnx")
    np.savez(tmp_path / "samples.npz", x=images(60, 3, 16, 16))
    before = model.read_bytes()
    out = tmp_path / "small.onnx"

    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)

    def command(output: Path) -> list[object]:
        options = ["--data", tmp_path / "samples.npz", "--recipe", recipe, "--no-measure"]
        return ["compress", model, "-o", output, *options, "--max-drop", 100]

    whole = tmp_path / "whole.onnx"
    assert run(*command(whole), seconds=300) == 0
    rng = np.random.default_rng(0)
    statuses = [run(*command(out), seconds=float(rng.uniform(0.02, 2))) for _ in range(20)]
    assert -9 in statuses and set(statuses) <= {-9, 0}
    if out.exists():
        onnx.checker.check_model(out)  # never a part of one
        out.unlink()
    assert run(*command(out), seconds=300) == 0
    assert out.read_bytes() == whole.read_bytes()
    assert model.read_bytes() == before
    names = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".tvmcomp-")}
    assert names == {"net.onnx", "samples.npz", "recipe.toml", "small.onnx", "whole.onnx"}
