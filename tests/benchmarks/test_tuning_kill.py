"""Tuners killed at random moments, a few times; benchmarks/tuning/kill.py does it often."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from needed import missing

from benchmarks.tuning import kill as tuning_kill


@pytest.mark.parametrize(
    ("store", "tuners"),
    [
        ("log", 2),
        pytest.param("log", 1, marks=pytest.mark.slow),
        pytest.param("log.db", 2, marks=pytest.mark.slow),
    ],
)
def test_no_finished_record_is_lost_and_the_next_run_goes_on(
    tmp_path: Path, store: str, tuners: int
) -> None:
    outcome = tuning_kill.torture(tmp_path / store, kills=4, tuners=tuners, end=False)
    assert not outcome.faults
    assert outcome.kills >= 4
    assert outcome.kept >= outcome.told > 10


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_a_full_disk_loses_nothing() -> None:
    try:
        with tuning_kill.small_disk(kib=128) as folder:
            outcome = tuning_kill.torture(folder / "log", kills=4)
    except OSError as error:
        missing(f"no small file system: {error}")
    assert not outcome.faults and outcome.full >= 1
    assert outcome.kept >= outcome.told > 0
