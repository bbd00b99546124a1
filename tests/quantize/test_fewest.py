"""The fewest that reach a goal, in few measurements."""

from __future__ import annotations

import pytest

from tvmcomp.quantize.fewest import fewest


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64])
def test_the_first_few_that_are_enough_are_found(count: int) -> None:
    ranked = [f"op{i}" for i in range(count)]
    for needed in range(1, count + 1):
        asked: list[int] = []

        def reaches(some: set[str], needed: int = needed, asked: list[int] = asked) -> bool:
            asked.append(len(some))
            return len(some) >= needed

        assert fewest(ranked, reaches) == set(ranked[:needed])
        assert len(asked) <= 2 * needed.bit_length() + 2


def test_none_where_all_are_not_enough() -> None:
    assert fewest(["a", "b", "c"], lambda some: False) is None
