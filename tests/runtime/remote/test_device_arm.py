"""Cross-compiled code on the emulated ARM board, with TVM's own RPC server there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from small_artifacts import ARM, X86, dense_artifact, dense_reference, dense_weights

from tvmcomp.errors import ArtifactError
from tvmcomp.runtime.bench import benchmark
from tvmcomp.runtime.remote.device import connect
from tvmcomp.runtime.session import load_on

if TYPE_CHECKING:
    from board import Board


def test_runs_there(board: Board) -> None:
    x = np.random.default_rng(3).standard_normal((1, 8)).astype("float32")
    with connect(board.address) as device, load_on(device, dense_artifact(ARM), 1) as session:
        outputs = session.run({"x": x})
        assert benchmark(session, 10).p50_ms > 0
    for name, wanted in dense_reference(x, dense_weights()).items():
        np.testing.assert_allclose(outputs[name], wanted, rtol=1e-5, atol=1e-6)


def test_refuses_x86_code(board: Board) -> None:
    with (
        connect(board.address) as device,
        pytest.raises(ArtifactError, match=r"x86_64-linux-gnu\) and can't run on .*\(aarch64\)"),
    ):
        load_on(device, dense_artifact(X86))
