"""Schedule, masks and final sparsity equal what TensorFlow's toolkit gives for the same settings.

``toolkit_pruning.json`` is what ``benchmarks/compress/toolkit_pruning.py`` printed, in an
environment that has the toolkit.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tvmcomp.compress.sparsify.masks import keep_in_each
from tvmcomp.compress.sparsify.polynomial import PolynomialDecay

RECORDED = json.loads((Path(__file__).parent / "toolkit_pruning.json").read_text())


def decay_of(settings) -> PolynomialDecay:
    start, final, begin, end, power, frequency = settings
    return PolynomialDecay(start, final, begin, end, frequency, power)


@pytest.mark.parametrize("rise", RECORDED["rises"], ids=lambda rise: str(rise["settings"]))
def test_schedule(rise):
    decay = decay_of(rise["settings"])
    wanted = {int(step): sparsity for step, sparsity in rise["updates"].items()}
    assert [step for step in range(2 * decay.end) if decay.is_update(step)] == list(wanted)
    for step, sparsity in wanted.items():
        assert decay.sparsity(step) == pytest.approx(sparsity, abs=1e-6)


@pytest.mark.parametrize("matrix", range(len(RECORDED["rises"][0]["masks"])))
@pytest.mark.parametrize("rise", RECORDED["rises"], ids=lambda rise: str(rise["settings"]))
def test_masks_of_a_whole_rise(rise, matrix):
    decay, recorded = decay_of(rise["settings"]), rise["masks"][matrix]
    shape = tuple(recorded["shape"])
    weights = np.random.default_rng(recorded["seed"]).normal(size=shape).astype(np.float32)[None]
    for step, packed in zip(rise["updates"], recorded["masks"], strict=True):
        mask = keep_in_each(np.abs(weights), decay.sparsity(int(step)), tuple(recorded["block"]))
        weights = weights * mask
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(packed), np.uint8), count=weights.size)
        np.testing.assert_array_equal(mask.reshape(-1), bits.astype(bool), str(step))
