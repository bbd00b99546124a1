"""Distillation behind every technique, with integers between and without: it runs, what the
technique made stays as it was made, and what is kept is no worse than before."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from needed import package
from networks import classifier, images
from onnx import numpy_helper

package("torch", "compress")

import tvmcomp  # noqa: E402

#: Not at hand: nothing is built to be timed.
TARGET = "rpi4"
SAMPLES = [{"x": each[None]} for each in images(80, 3, 16, 16)]
STEPS = 60
TECHNIQUES = {
    "prune": {"name": "prune", "macs": 0.5},
    "low_rank": {"name": "low_rank", "operators": {"Conv": {"rank": 8}}},
    "sparsify": {"name": "sparsify", "sparsity": 0.6, "block": "1x1"},
    "cluster": {"name": "cluster", "clusters": 6},
}
QUANTIZE = {"name": "quantize", "quant": "int8"}


def compressed(path, recipe):
    return tvmcomp.compress(
        path, None, SAMPLES, recipe=recipe, measure=False, max_drop=100, target=TARGET
    )


def shapes(model: onnx.ModelProto) -> list[tuple[str, tuple[int, ...]]]:
    return sorted((t.name, tuple(t.dims)) for t in model.graph.initializer)


def large(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    arrays = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    return {name: array for name, array in arrays.items() if array.size >= 64}


@pytest.mark.parametrize("integers", [False, True], ids=["float", "int8"])
@pytest.mark.parametrize("name", TECHNIQUES)
def test_what_was_made_stays_and_is_no_worse(name, integers, tmp_path):
    path = classifier(tmp_path / "net.onnx")
    recipe = [TECHNIQUES[name], *([QUANTIZE] if integers else [])]
    if name == "cluster":  # of integers there are few values, not the other way round
        recipe.reverse()
    made = compressed(path, recipe).model
    result = compressed(path, [*recipe, {"name": "distil", "steps": STEPS}])
    step = result.proof.steps[-1]
    assert any(f"after {STEPS} steps" in note for note in step.notes), step.notes
    assert step.drop_after <= step.drop_before
    assert step.sqnr_db_after >= step.sqnr_db_before - 0.1
    assert result.proof.judged_on and np.isfinite(result.proof.score.drop)
    assert shapes(result.model) == shapes(made)
    before, after = large(made), large(result.model)
    for key, array in before.items():
        if name == "sparsify" and (array == 0).mean() > 0.4:
            assert (after[key][array == 0] == 0).all(), key
        if array.dtype in (np.uint8, np.int8) and name == "cluster" and not integers:
            np.testing.assert_array_equal(after[key], array)  # indices of a code book
    session = onnxruntime.InferenceSession(result.model.SerializeToString())
    assert np.isfinite(session.run(None, SAMPLES[0])[0]).all()


def test_what_is_lost_is_learned_back(tmp_path):
    path = classifier(tmp_path / "net.onnx")
    rough = {"name": "low_rank", "operators": {"Conv": {"rank": 2}}}
    *_, step = compressed(path, [rough, {"name": "distil", "steps": 120}]).proof.steps
    assert step.sqnr_db_after > step.sqnr_db_before + 1, step.notes
