"""The front, the best point, and what is said where no point reaches the goals."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from benchmarks.search.made_tables import made_tables
from tvmcomp.compress.score import Score
from tvmcomp.report.search import print_front
from tvmcomp.search.candidate import ORIGINAL, Candidate, of_choice
from tvmcomp.search.goals import Goals
from tvmcomp.search.outcome import Front, commands, settled
from tvmcomp.search.points import Point, preferred, with_front
from tvmcomp.search.recipe_file import as_toml
from tvmcomp.search.solve import HARM, solve
from tvmcomp.toml_settings import read_toml


def lost(drop: float) -> Score:
    return Score("top1", "y", "%", 1000, 99.0, 99 - drop, 98.0, 100.0, drop, drop - 0.3, drop + 0.3)


def point(name: str, drop: float, ms: float, size: int, judged: float | None = None) -> Point:
    return Point(
        name, name, "by layer", (), None, False, "model.onnx", "model.tvmc", None, ms, 2 * ms,
        size, 5_000_000, lost(drop), 10**-3, lost(drop if judged is None else judged),
    )  # fmt: skip


POINTS = (
    point("float", 0.0, 10.0, 4000),
    point("int8", 0.1, 4.0, 1000),
    point("worse", 0.2, 5.0, 1100),
    point("cut", 0.4, 2.0, 900),
    point("tiny", 3.0, 1.0, 500),
)


def front(goals: Goals, points: tuple[Point, ...] = POINTS) -> Front:
    return Front(
        "net.onnx", "native", None, "here", "top1", "test.npz", {}, goals, 60.0, 50.0, 0, {},
        "float", points,
    )  # fmt: skip


def test_the_front_is_what_no_other_beats() -> None:
    assert [p.name for p in with_front(POINTS) if p.on_front] == ["float", "int8", "cut", "tiny"]


def test_the_fastest_where_loss_is_bounded_and_else_what_loses_least() -> None:
    assert preferred(POINTS, Goals(max_drop=0.5))[0].name == "cut"
    assert preferred(POINTS, Goals(max_latency_ms=4.5))[0].name == "int8"
    assert preferred(POINTS, Goals(max_drop=1.0, max_size_bytes=600))[0].name == "cut"


def test_a_reached_goal() -> None:
    found = settled(front(Goals(max_drop=0.5)), [])
    assert (found.best, found.reached, found.finished) == ("cut", True, True)
    assert settled(front(Goals()), []).reached is None


def test_the_judge_refuses_and_the_next_is_taken() -> None:
    points = (*POINTS[:3], point("cut", 0.4, 2.0, 900, judged=0.9))
    found = settled(front(Goals(max_drop=0.5), points), [])
    assert found.best == "int8" and found.reached
    assert any("cut: 0.40 points" in note and "passed over" in note for note in found.notes)


def test_what_stands_in_the_way() -> None:
    goals = Goals(max_drop=0.5, max_latency_ms=1.5)
    found = settled(front(goals), ["conv3 (900 us)"])
    assert found.reached is False and found.best is None and found.nearest == "cut"
    assert found.in_the_way is not None
    for text in ("latency 2 ms (1.5 ms asked for)", "conv3", "loses 3.00 points"):
        assert text in found.in_the_way


def test_commands_make_it_again() -> None:
    recipe = ({"name": "quantize", "bits": 4},)
    made = commands(Candidate("x", "y", recipe), "/net.onnx", "rpi4", "1.2.3.4:9", {"data": "a b"})
    assert [each.split()[1] for each in made] == ["compress", "build", "bench"]
    assert "--data 'a b'" in made[0] and made[2].endswith("--device 1.2.3.4:9")
    assert [each.split()[1] for each in commands(ORIGINAL, "n", "t", None, {})] == [
        "build",
        "bench",
    ]


def test_a_choice_is_a_recipe(tmp_path) -> None:
    tables = made_tables(6, 2)
    choice = solve(tables, {"time": lambda c: c.seconds}, "time", {HARM: 0.05})
    assert choice is not None
    candidate = of_choice(choice, tables, "by layer", {u.name: (u.name,) for u in tables.units})
    file = tmp_path / "recipe.toml"
    file.write_text(as_toml(candidate.recipe))
    assert read_toml(file)["technique"] == msgspec.to_builtins(list(candidate.recipe))
    assert candidate.id == msgspec.structs.replace(candidate, name="another").id
    trained = candidate.distil(30)
    assert trained.base == candidate.base and trained.id != candidate.id


@pytest.mark.parametrize("width", [30, 80, 200])
def test_the_front_is_printed_on_any_terminal(width: int) -> None:
    counts = {"fit": 6, "watch": 2, "choose": 10, "judge": 20}
    for goals in (Goals(max_drop=0.5), Goals(max_drop=0.0, max_latency_ms=0.5)):
        found = settled(msgspec.structs.replace(front(goals), samples=counts), [])
        console = Console(width=width, file=io.StringIO())
        print_front(found, Path("found"), console)
        text = console.file.getvalue()
        reached = "best: cut; wrote" if found.reached else "the goals were not reached"
        assert reached in text and "judged on 20 others" in text
