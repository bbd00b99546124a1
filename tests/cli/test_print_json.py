"""What `--json` prints is JSON, whatever the figures are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tvmcomp.cli.common import print_json


def test_what_is_no_finite_number_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    document = {
        "nan": float("nan"), "inside": [1.5, (float("inf"), {"x": -np.float64("inf")})],
        "path": Path("net.tvmc"), "name": "é", "count": 2, "yes": True,
    }  # fmt: skip
    print_json(document)
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found == {
        "nan": None, "inside": [1.5, [None, {"x": None}]],
        "path": "net.tvmc", "name": "é", "count": 2, "yes": True,
    }  # fmt: skip
