"""What a board says whose GPU can't be used."""

from __future__ import annotations

import msgspec
import pytest

from tvmcomp import targets
from tvmcomp.errors import DeviceError, ToolError
from tvmcomp.runtime.remote import board


def test_it_says_why_its_gpu_can_not_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise ToolError("TVM's CUDA runtime can't be loaded: no libcudart", hint="Install it.")

    monkeypatch.setattr(board, "enable_gpu", fails)
    monkeypatch.setattr(targets, "runs_here", lambda _: None)
    monkeypatch.setattr(board, "gpu_fingerprint", targets.fingerprint.local_fingerprint)
    told = "TVM's CUDA runtime can't be loaded: no libcudart. Install it."
    assert board._refusal(msgspec.json.encode(targets.load("h100")).decode()) == told
    with pytest.raises(DeviceError, match="no libcudart"):
        board._gpu_fingerprint()
    # A network for the board's CPU is none of the GPU's business.
    assert board._refusal(msgspec.json.encode(targets.load("native")).decode()) == ""
