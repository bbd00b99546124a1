"""Outputs that are the same to the last bit: an endless ratio, which JSON has no number for."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest
from needed import package

package("torch", "compress")

from tvmcomp.compress.score import Score  # noqa: E402
from tvmcomp.search.folder import FRONT, read_front, write_document  # noqa: E402
from tvmcomp.search.goals import Goals  # noqa: E402
from tvmcomp.search.judging import finite  # noqa: E402
from tvmcomp.search.outcome import Front  # noqa: E402
from tvmcomp.search.points import Point  # noqa: E402


@pytest.mark.parametrize(
    ("after", "drop", "kept"),
    [
        (math.inf, 0.0, (300.0, 0.0)),
        (138.9, 1e-12, (138.9, 1e-12)),
        (-3.0, 200.0, (-3.0, 200.0)),
        (-math.inf, math.inf, (-1e6, 1e6)),
        (math.nan, math.nan, (-1e6, 1e6)),
    ],
)
def test_a_front_is_read_as_it_was_written(
    tmp_path: Path, after: float, drop: float, kept: tuple[float, float]
) -> None:
    score = finite(Score("sqnr", "y", "dB", 8, None, after, after, after, drop, drop, drop))
    assert (score.after, score.drop) == kept
    point = Point(
        "as it is", "float32", "alone", (), None, False, "m.onnx", "m.tvmc", None, 1.0, 2.0, 9,
        None, score, 0.0, score,
    )  # fmt: skip
    front = Front(
        "net.onnx", "native", None, "here", "sqnr", "x.npz", {}, Goals(), 60.0, 50.0, 0, {},
        "as it is", (point,),
    )  # fmt: skip
    write_document(tmp_path / FRONT, front)
    assert read_front(tmp_path, Front) == front
    assert msgspec.json.decode((tmp_path / FRONT).read_bytes())["points"][0]["judged"]["after"]
