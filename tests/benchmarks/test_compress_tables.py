"""The tables of compression: what is measured is kept, and what the goals are is said."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from benchmarks.accuracy.cases import Case
from benchmarks.compress import low_bits, peers, qat, results, together
from benchmarks.compress.results import Row
from benchmarks.compress.variants import Judged


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the networks that were loaded; the float network is right 3 of 4 times."""
    found = []

    def load(name: str, limit: int | None, samples: int | None) -> Case:
        found.append(name)
        inputs = {"x": np.zeros((4, 2), np.float32)}
        return Case(name, Path("m.onnx"), {}, [], inputs, lambda *_: {"top1": 75.0})

    monkeypatch.setattr(results.networks, "load", load)
    monkeypatch.setattr(results.kinds, "run_float", lambda *_: {})
    return found


def arguments(*names: str, file: Path | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    results.add_arguments(parser)
    return parser.parse_args([*names, "--json", *(["--results", str(file)] if file else [])])


def fails(case: Case, reference: object) -> Judged:
    raise RuntimeError("no such operator")


def test_nothing_is_measured_twice_and_a_failure_is_a_row(made, tmp_path, capsys):
    file = tmp_path / "rows.jsonl"
    variants = {"a": lambda *_: Judged({"top1": 70.0}, 5.0), "b": fails}
    (row,) = results.rows(arguments("n", file=file), "t", "s", variants)
    assert row.variants["a"].drop == 5 and "no such operator" in row.variants["b"].error
    content = file.read_text()
    # What a killed run left of a line is no row, and the next one goes on from the one before.
    file.write_text(content + content.splitlines()[-1][:40])
    assert results.rows(arguments("n", file=file), "t", "s", {"a": fails, "b": fails}) == [row]
    assert made == ["n"]
    more = {**variants, "c": lambda *_: Judged()}
    (again,) = results.rows(arguments("n", file=file), "t", "s", more)
    assert set(again.variants) == {"a", "b", "c"}
    results.rows(arguments("n", file=file), "t", "other settings", {"a": variants["a"]})
    assert made == ["n"] * 3
    results.show(arguments("n"), [again], {})
    assert json.loads(capsys.readouterr().out)[0]["variants"]["a"]["drop"] == 5


def row(**variants: Judged) -> Row:
    return Row("t", "n", "s", 1000, {"top1": 90.0}, variants)


@pytest.mark.parametrize(
    ("constants_bytes", "drop", "reached"),
    [(125, 0.4, True), (125, 0.6, False), (126, 0.0, False), (100, 0.9, True), (100, 1.1, False)],
)
def test_a_goal_is_a_size_and_what_it_may_cost(constants_bytes, drop, reached):
    variants = {
        "float": Judged(constants_bytes=1000),
        "4 bits": Judged(drop=drop, constants_bytes=constants_bytes),
        "3 bits": Judged(error="none"),
    }
    assert low_bits.reaches_a_goal(row(**variants)) is reached


def test_what_distillation_recovers_is_a_share_of_what_was_lost():
    assert qat.recovered(row(**{qat.PLAIN: Judged(drop=5), "distilled": Judged(drop=1)})) == 0.8
    assert qat.recovered(row(**{qat.PLAIN: Judged(drop=0.5), "distilled": Judged(drop=1)})) is None
    assert qat.recovered(row(**{qat.PLAIN: Judged(drop=5), "distilled": Judged(error="e")})) is None


def test_behind_is_by_more_than_noise():
    assert results.noise(row()) == pytest.approx(1.86, abs=0.01)
    ours = {"build": Judged(drop=3), "compress": Judged(error="e")}
    assert peers.is_behind(row(nncf=Judged(drop=1.0), **ours))
    assert not peers.is_behind(row(nncf=Judged(drop=1.2), **ours))
    assert not peers.is_behind(row(nncf=Judged(error="e"), **ours))
    assert peers.is_behind(row(nncf=Judged(drop=40), build=Judged(error="e")))


@pytest.mark.parametrize(
    ("drop", "size", "milliseconds", "ahead"),
    [(0.1, 9, 0.9, True), (0.3, 9, 0.9, False), (0.1, 11, 0.9, False), (0.1, 9, 1.1, False)],
)
def test_all_together_is_ahead_where_it_is_in_everything(drop, size, milliseconds, ahead):
    peer = Judged({}, 0.2, constants_bytes=10, milliseconds=1.0)
    ours = Judged({}, drop, constants_bytes=size, milliseconds=milliseconds)
    variants = {together.TOGETHER: ours, "nncf": peer, "onnxruntime": Judged(error="none")}
    assert together.is_ahead(Row("together", "n", "s", 100, {}, variants)) is ahead
