"""Goals as people give them, and what misses them."""

from __future__ import annotations

import pytest

from tvmcomp.errors import ConfigError
from tvmcomp.search.goals import Figures, goals_of, shown


def test_units() -> None:
    goals = goals_of(0.5, "900us", "1.5MiB", "6MB")
    assert goals.max_latency_ms == pytest.approx(0.9)
    assert goals.max_size_bytes == 1.5 * 2**20 and goals.max_memory_bytes == 6e6
    assert goals_of(None, "1.5s", 2000, None).max_latency_ms == 1500
    assert goals_of(None, 8, "2 kb", None).max_size_bytes == 2000
    assert not goals_of(None, None, None, None).any


@pytest.mark.parametrize("text", ["8 parsecs", "fast", "-3ms", "0", "1e999", "..", ""])
def test_what_is_no_goal(text: str) -> None:
    with pytest.raises(ConfigError, match="max_latency is"):
        goals_of(None, text, None, None)


def test_misses() -> None:
    goals = goals_of(0.5, "8ms", None, "6MB")
    found = Figures(drop=0.2, p50_ms=10.0, file_bytes=1e9, memory_bytes=None)
    assert goals.misses(found)["max_latency_ms"] == pytest.approx(0.25)
    assert set(goals.misses(found)) == {"max_latency_ms", "max_memory_bytes"}
    beside = goals.beside(found)
    assert shown({"max_latency_ms": beside["max_latency_ms"]}) == "latency 10 ms (8 ms asked for)"
