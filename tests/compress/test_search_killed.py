"""A search that is killed, at any moment, goes on with the same command and repeats nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from killed_runs import KilledRuns
from needed import package
from networks import classifier, images

package("torch", "compress")

#: Of the process that the searches are forked from.
_QUICK = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import quick_search, tvmcomp.cli.search, tvmcomp.report.search, tvmcomp.search.searching
quick_search.install()
"""


@pytest.fixture
def run() -> Iterator[KilledRuns]:
    runs = KilledRuns(_QUICK)
    yield runs
    runs.close()


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments(tmp_path: Path, run: KilledRuns, kills: int) -> None:
    model = classifier(tmp_path / "net.onnx", softmax=True)
    np.savez(tmp_path / "samples.npz", x=images(60, 3, 16, 16))
    found = tmp_path / "found"
    options = ["--data", tmp_path / "samples.npz", "--max-drop", 30, "--budget", "60s"]
    options += ["--seed", kills]  # nothing of it is in the folder of another search
    command = ["search", model, "-o", found, *options]
    rng = np.random.default_rng(kills)
    statuses = [run(*command, seconds=float(rng.uniform(0.1, 8))) for _ in range(kills)]
    assert -9 in statuses and set(statuses) <= {-9, 0}
    assert run(*command, seconds=300) == 0
    lines = [json.loads(line) for line in (found / "measurements.jsonl").read_text().splitlines()]
    counts = Counter((line["kind"], line["of"]) for line in lines)
    assert counts and set(counts.values()) == {1}
    assert json.loads((found / "front.json").read_text())["finished"]
    assert (found / "best.tvmc").exists()


def test_another_folder_goes_on_from_what_a_killed_search_finished(
    tmp_path: Path, run: KilledRuns
) -> None:
    model = classifier(tmp_path / "net.onnx", softmax=True)
    np.savez(tmp_path / "samples.npz", x=images(60, 3, 16, 16))
    given = ["search", model, "--data", tmp_path / "samples.npz", "--budget", "30s", "--seed", 99]
    while True:
        assert run(*given, "-o", tmp_path / "killed", seconds=4) == -9
        finished = lines_of(tmp_path / "killed")
        if any(kind == "harm" for kind, _ in finished):
            break
    assert run(*given, "-o", tmp_path / "other", seconds=300) == 0
    found = lines_of(tmp_path / "other")
    for key in finished:
        if key[0] in ("harm", "proxy"):
            assert found[key]["taken_from"] == str(tmp_path / "killed")


def lines_of(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The whole lines of a search's measurements."""
    file = folder / "measurements.jsonl"
    text = file.read_text() if file.exists() else ""
    lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    return {(line["kind"], line["of"]): line for line in lines}
