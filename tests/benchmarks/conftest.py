"""Fixtures of the benchmarks' tests."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.parser
import pytest


@pytest.fixture
def zoo_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and this Python for the peers."""
    monkeypatch.setenv("TVMCOMP_ZOO", str(tmp_path / "cache"))
    monkeypatch.delenv("TVMCOMP_PEERS_PYTHON", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """y = relu(x) + 1."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]>'
        " net (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] y)"
        " <float one = {1}> { r = Relu(x)  y = Add(r, one) }"
    )
    onnx.save(model, tmp_path / "tiny.onnx")
    return tmp_path / "tiny.onnx"
