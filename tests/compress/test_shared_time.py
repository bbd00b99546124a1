"""The time of a run, shared among the steps that train."""

from __future__ import annotations

import time

import coarse_weights
import msgspec
import pytest
from needed import package
from networks import classifier, images

package("torch", "compress")

import tvmcomp  # noqa: E402
from tvmcomp.compress.technique import TECHNIQUES, Applied, technique  # noqa: E402

BUDGET, TAKEN = 40.0, 0.5


@pytest.fixture(autouse=True)
def techniques():
    """``slow``, which trains where it has steps, and ``mending``; both say how long they may."""
    coarse_weights.register()

    def of(name, seconds, **facts):
        @technique(name, **facts)
        class Timed(TECHNIQUES["coarse"]):
            class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
                steps: int | None = None

            chosen_by = (name,)
            on_command_line = (name,)

            def apply(self, model, run):
                time.sleep(seconds)
                return Applied(model, (str(run.seconds),))

    of("slow", TAKEN, place=10, trains=("steps",))
    of("mending", 0.0, place=90, repeats=True)
    yield
    coarse_weights.unregister()
    del TECHNIQUES["slow"], TECHNIQUES["mending"]


def seconds(path, *recipe):
    samples = [{"x": each[None]} for each in images(40, 3, 16, 16)]
    proof = tvmcomp.compress(
        path, None, samples, recipe=[*recipe], budget=BUDGET, measure=False, max_drop=100
    ).proof
    return [float(step.notes[0]) for step in proof.steps]


def test_what_does_not_train_takes_none_of_it(tmp_path):
    path = classifier(tmp_path / "net.onnx")
    assert seconds(path, {"name": "slow"}, {"name": "mending"}) == [BUDGET, BUDGET]


def test_what_trains_takes_its_part(tmp_path):
    path = classifier(tmp_path / "net.onnx")
    first, second = seconds(path, {"name": "slow", "steps": 3}, {"name": "mending"})
    assert first == BUDGET / 2 and BUDGET - 5 * TAKEN < second <= BUDGET - TAKEN
    first, second, third = seconds(path, {"name": "mending"}, {"name": "slow"}, {"name": "mending"})
    assert first == BUDGET / 2 and third == pytest.approx(BUDGET, abs=TAKEN)
    assert seconds(path, {"name": "slow", "steps": 3}) == [0.0]  # nothing behind it mends
