"""A whole search of a small network: what it writes and says, and that nothing is done twice."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from needed import package
from networks import classifier, images

package("torch", "compress")

import quick_search  # noqa: E402

from tvmcomp.artifact.artifact import Artifact  # noqa: E402
from tvmcomp.compress.original import read_original  # noqa: E402
from tvmcomp.compress.samples import Parts  # noqa: E402
from tvmcomp.errors import ConfigError, DeviceError  # noqa: E402
from tvmcomp.search import prepare, workbench  # noqa: E402
from tvmcomp.search.events import Event, Found, Said  # noqa: E402
from tvmcomp.search.outcome import Front  # noqa: E402
from tvmcomp.search.probes import in_integers  # noqa: E402
from tvmcomp.search.search import search  # noqa: E402

GOALS = {"max_drop": 20.0, "budget": 40.0}


class Searches:
    """A folder with a network, samples and a finished search of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = classifier(folder / "net.onnx", softmax=True)
        np.savez(folder / "samples.npz", x=images(60, 3, 16, 16))
        self.events: list[Event] = []
        self.front = self(folder / "found", **GOALS)

    def __call__(self, output: Path, **options: Any) -> Front:
        return search(
            self.model, output, self.folder / "samples.npz", tell=self.events.append, **options
        )

    def lines(self, output: str = "found") -> list[dict[str, Any]]:
        text = (self.folder / output / "measurements.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Any:
    kept = prepare.device_times, workbench.benched, workbench.Workbench.probed
    quick_search.install()
    yield Searches(tmp_path_factory.mktemp("search"))
    prepare.device_times, workbench.benched, workbench.Workbench.probed = kept


def test_the_goal_is_reached_by_a_joint_choice(searched: Searches) -> None:
    front = searched.front
    assert front.reached and front.finished and front.best
    best = front.point(front.best)
    assert best is not None and best.judged is not None and best.judged.drop <= 20
    assert any(point.origin == "by layer" for point in front.points)
    assert "int8 alone" in {point.origin for point in front.points}


def test_the_folder_holds_what_is_told(searched: Searches) -> None:
    found = searched.folder / "found"
    document = json.loads((found / "front.json").read_text())
    assert document["best"] == searched.front.best
    for point in document["points"]:
        onnx.checker.check_model(str(found / point["onnx"]))
        assert (found / point["artifact"]).stat().st_size == point["file_bytes"]
    best = searched.front.point(searched.front.best)
    assert (found / "best.tvmc").read_bytes() == (found / best.artifact).read_bytes()
    assert Artifact.load(found / "best.tvmc").metadata.signature.inputs[0].name == "x"
    table = json.loads((found / "table.json").read_text())
    assert table["units"] and table["groups"] and not (found / "work").exists()


def test_progress_tells_the_best_so_far(searched: Searches) -> None:
    found = [event for event in searched.events if isinstance(event, Found)]
    assert len(found) >= len(searched.front.points)
    assert all(event.left_seconds >= 0 and event.best for event in found)


def test_the_same_search_again_measures_nothing_twice(searched: Searches) -> None:
    searched(searched.folder / "found", **GOALS)
    counts = Counter((line["kind"], line["of"]) for line in searched.lines())
    assert counts and set(counts.values()) == {1}


def test_another_search_in_the_same_folder_is_refused(searched: Searches) -> None:
    with pytest.raises(ConfigError, match="another search: seed"):
        searched(searched.folder / "found", seed=1)


def test_what_can_not_be_reached_is_told(searched: Searches) -> None:
    front = searched(searched.folder / "found", max_size=10.0, budget=40.0, command="typed")
    assert front.command == "typed"
    assert front.reached is False and front.nearest and front.best is None
    assert front.in_the_way is not None and "file" in front.in_the_way
    notes = [event.text for event in searched.events if isinstance(event, Said)]
    assert any("no choice reaches it" in note and "file" in note for note in notes)


def test_too_few_samples_to_judge_by(searched: Searches) -> None:
    searched(searched.folder / "found", max_drop=0.1, budget=40.0)
    notes = [event.text for event in searched.events if isinstance(event, Said)]
    assert any("can't tell whether 0.1 points are lost" in note for note in notes)


def test_a_network_without_weights(searched: Searches) -> None:
    shape = [1, 3, 16, 16]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "g",
        [value("x", onnx.TensorProto.FLOAT, shape)], [value("y", onnx.TensorProto.FLOAT, shape)],
    )  # fmt: skip
    path = searched.folder / "relu.onnx"
    onnx.save(onnx.helper.make_model(graph), path)
    with pytest.raises(ConfigError, match="has no weights"):
        search(path, searched.folder / "none", searched.folder / "samples.npz")
    assert not (searched.folder / "none").exists()


def test_a_network_of_an_early_operator_set_is_timed_in_integers(tmp_path: Path) -> None:
    """Set 11 has no scales of an axis: what is built for its times is of a later one."""
    original = read_original(classifier(tmp_path / "early.onnx", opset=11))
    samples = [{"x": image[None]} for image in images(4, 3, 16, 16)]
    made = in_integers(original.prepared, Parts(samples, samples, samples))
    assert "QuantizeLinear" in {node.op_type for node in made.graph.node}
    onnx.checker.check_model(made)


def test_a_board_that_does_not_answer_is_told_of_before_any_work(searched: Searches) -> None:
    with pytest.raises(DeviceError, match="does not answer"):
        searched(searched.folder / "far", device="127.0.0.1:1", target="rpi4")
    assert not (searched.folder / "far").exists()


def test_a_board_that_disappears(searched: Searches, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(artifact: Path, device: str | None, beside: object) -> Any:
        raise DeviceError("it does not answer", where="board")

    monkeypatch.setattr(workbench, "benched", gone)
    with pytest.raises(DeviceError, match="does not answer"):
        searched(searched.folder / "gone", **GOALS)
    assert [line["kind"] for line in searched.lines("gone")] == ["proxy"]


def test_a_search_in_another_folder_begins_with_what_the_first_found(searched: Searches) -> None:
    second = searched(searched.folder / "second", **GOALS)
    found = {point.id for point in second.points}
    assert {point.id for point in searched.front.points if point.on_front} <= found
    lines = searched.lines("second")
    counts = Counter((line["kind"], line["of"]) for line in lines)
    assert set(counts.values()) == {1}
    first = {(line["kind"], line["of"]) for line in searched.lines()}
    scored = [line for line in lines if line["kind"] in ("harm", "proxy", "judged")]
    assert scored
    for line in scored:
        if (line["kind"], line["of"]) in first:
            assert line["taken_from"] == str(searched.folder / "found")
    for point in second.points:
        assert (searched.folder / "second" / "candidates" / point.id / "recipe.toml").exists()


def test_a_search_with_other_samples_takes_nothing(searched: Searches) -> None:
    np.savez(searched.folder / "others.npz", x=images(50, 3, 16, 16))
    search(searched.model, searched.folder / "others", searched.folder / "others.npz", budget=20.0)
    assert not any("taken_from" in line for line in searched.lines("others"))
