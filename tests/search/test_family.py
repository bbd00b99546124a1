"""A family of networks: what is lost is told beside the best of them, and one front is over all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from test_outcome import front, lost, point

from tvmcomp.errors import ConfigError
from tvmcomp.search import family
from tvmcomp.search.goals import Goals
from tvmcomp.search.outcome import Front

#: Name -> what it gets right as it is; its latency, and that of what is searched out of it.
MEMBERS = {"large": (96.0, 8.0, 4.0), "medium": (95.5, 3.0, 1.5), "small": (90.0, 1.0, 0.5)}


class Searches:
    """Stands in for searches of single networks, and notes what they are asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any, float, float | None]] = []

    def __call__(self, model: Path, output: Path, data: Any, **options: Any) -> Front:
        right, ms, fast = MEMBERS[model.stem]
        self.asked.append((model.stem, data, options["budget"], options["max_drop"]))
        points = []
        for name, drop, latency in (("float", 0.0, ms), ("int8", 0.2, fast)):
            score = msgspec.structs.replace(
                lost(drop), before=right, after=right - drop, after_low=right - 1, after_high=97.0
            )
            made = point(name, drop, latency, 1000)
            points.append(msgspec.structs.replace(made, chosen_by=score, judged=score))
            for file in (made.onnx, made.artifact):
                output.mkdir(parents=True, exist_ok=True)
                (output / file).write_text(model.stem)
        found = front(Goals(), tuple(points))
        return msgspec.structs.replace(found, spent_seconds=options["budget"])


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> Searches:
    found = Searches()
    monkeypatch.setattr(family, "search", found)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in MEMBERS:
        (tmp_path / f"{name}.onnx").write_text("")
    return tmp_path


def test_one_front_beside_the_best_member(searches: Searches, folder: Path) -> None:
    (folder / "small.npz").write_text("")
    out = folder / "found"
    found = family.search_family(folder, out, folder, eval="t.npz", max_drop=1.0, budget=60)
    best = found.point(found.best)
    assert best is not None and best.name == "medium: int8" and found.reached
    assert best.chosen_by.drop == pytest.approx(0.7) and best.chosen_by.drop_low < 0.7
    assert found.original == "large-float" and found.point("small-int8").chosen_by.drop > 6
    assert (out / "best.tvmc").read_text() == "medium"
    assert json.loads((out / "front.json").read_text())["best"] == best.id
    assert best.artifact == "medium/model.tvmc" and best.commands[0] == "cd medium"
    # Samples of its own where there are, and the rest of the budget for those that may win.
    assert {data for name, data, *_ in searches.asked if name == "small"} == {folder / "small.npz"}
    again = searches.asked[len(MEMBERS) :]
    assert {name for name, *_ in again} == {"large", "medium"}
    assert {drop for name, *_, drop in again if name == "medium"} == {0.5}
    assert sum(budget for *_, budget, _ in again) == pytest.approx(60 - 10)


def test_what_can_not_be_compared_is_refused(
    searches: Searches, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlabelled(*args: Any, **options: Any) -> Front:
        return msgspec.structs.replace(searches(*args, **options), metric="sqnr")

    monkeypatch.setattr(family, "search", unlabelled)
    with pytest.raises(ConfigError, match="judged by sqnr"):
        family.search_family(folder, folder / "found", "s.npz", eval="t.npz", budget=60)


def test_a_folder_of_one_network_is_no_family(tmp_path: Path) -> None:
    (tmp_path / "one.onnx").write_text("")
    with pytest.raises(ConfigError, match="holds 1 ONNX files"):
        family.search_family(tmp_path, tmp_path / "found", "s.npz", eval="t.npz")
