"""The programs of other processors, run: int8 gives the bits of x86, float32 nearly so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from exported import artifact_of
from networks import EXAMPLE, share_of_range
from program_outputs import outputs_of

from tvmcomp import targets

#: Every architecture that code is made for, and what differs within one: division on ARM, SSE alone
#: and musl on x86.
TARGETS = ("arm", "armv7", "rpi2", "riscv64", "x86-64-v2", "x86-64-v3-musl")
MODEL, SAMPLES = EXAMPLE / "model.onnx", EXAMPLE / "calib.npz"
IMAGE = {"x": np.load(EXAMPLE / "test.npz")["x"][:1]}

pytestmark = [pytest.mark.slow, pytest.mark.ci]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> dict[Path | None, dict]:
    """What programs for this machine give, by what they were calibrated with."""
    return {
        samples: outputs_of(
            artifact_of(MODEL, IMAGE, "native", samples), IMAGE, tmp_path_factory.mktemp("here")
        )
        for samples in (None, SAMPLES)
    }


@pytest.mark.parametrize("target", TARGETS)
def test_the_example_in_float(target: str, here: dict, tmp_path: Path) -> None:
    there = outputs_of(artifact_of(MODEL, IMAGE, target), IMAGE, tmp_path)
    for name, wanted in here[None].items():
        assert share_of_range(there[name], wanted) <= 1e-5


@pytest.mark.parametrize("target", TARGETS)
def test_the_example_in_int8(target: str, here: dict, tmp_path: Path) -> None:
    """The activations' integers are signed there and unsigned here: they stand for the same."""
    there = outputs_of(artifact_of(MODEL, IMAGE, target, SAMPLES), IMAGE, tmp_path)
    for name, wanted in here[SAMPLES].items():
        np.testing.assert_array_equal(there[name], wanted)


def test_every_processor_has_a_target() -> None:
    arches = {targets.load(name).triple.partition("-")[0] for name in TARGETS}
    shipped = [targets.load(name) for name in targets.shipped()]
    assert arches == {each.triple.partition("-")[0] for each in shipped if each.family != "cuda"}
