"""Networks at random of every kind of operator, built for a GPU and run on the CPU: floats are near
ONNX Runtime's, and integers those of the x86 build."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_on_cpu import run_onnx
from random_operators import KINDS, Draw

from tvmcomp.arguments import Quant

#: What a result may differ by, as a share of the largest.
TOLERANCES: dict[Quant | None, float] = {None: 1e-4, "fp16": 1e-2, "bf16": 6e-2, "int8": 1e-5}
MARKS = [pytest.mark.slow, pytest.mark.ci]
#: A few that differ in precision; CI runs some more, `make test-slow` all.
CASES = [
    *((kind, 0, quant) for kind, quant in (("network", "int8"), ("attention", "bf16"))),
    *(
        pytest.param(kind, seed, quant, marks=MARKS[: 1 + (seed == 1)])
        for kind in KINDS
        for seed in range(1, 6)
        for quant in TOLERANCES
    ),
]


@pytest.mark.parametrize(("kind", "seed", "quant"), CASES)
def test_some_operator(kind: str, seed: int, quant: Quant | None) -> None:
    draw = Draw(seed)
    model = draw.model(KINDS[kind](draw))
    found, expected = run_onnx(model, draw.inputs, quant, "h100")
    for given, wanted in zip(found, expected, strict=True):
        assert given.shape == wanted.shape
        if wanted.dtype.kind in "iu":
            np.testing.assert_array_equal(given, wanted)
        else:
            scale = max(float(np.abs(wanted).max(initial=0)), 1e-3)
            np.testing.assert_allclose(given, wanted, atol=TOLERANCES[quant] * scale, rtol=0)
