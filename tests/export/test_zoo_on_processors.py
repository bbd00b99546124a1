"""Trained networks from the wild as programs of other processors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from exported import artifact_of
from networks import share_of_range
from program_outputs import outputs_of

from benchmarks.zoo.catalogue import fetch
from benchmarks.zoo.data import load, sample_files

pytestmark = pytest.mark.slow

NETWORKS = ("text-direction", "orientation", "mobilenet-v2")
#: Relative, of what a softmax in float32 gives: vectors add up in another order.
LAST_BIT = {"text-direction": 5e-7, "orientation": 5e-7}
TARGETS = ("arm", "armv7", "riscv64")


@pytest.mark.parametrize("quantized", [False, True], ids=["float", "int8"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network(name: str, quantized: bool, tmp_path: Path) -> None:
    """Float32 within 1e-5 of the range of what this machine gives; int8 its bits, but for the last
    one of a softmax."""
    model = fetch(name)
    inputs = {key: array[:1] for key, array in load(name)[1].inputs.items()}
    samples = sample_files(name)[0] if quantized else None
    found = {}
    for target in ("native", *TARGETS):
        folder = tmp_path / target
        folder.mkdir()
        found[target] = outputs_of(artifact_of(model, inputs, target, samples), inputs, folder)
    for target in TARGETS:
        for output, wanted in found["native"].items():
            given = found[target][output]
            if quantized:
                rtol = LAST_BIT.get(name, 0)
                np.testing.assert_allclose(given, wanted, rtol=rtol, atol=0, err_msg=target)
            else:
                assert share_of_range(given, wanted) <= 1e-5, target
