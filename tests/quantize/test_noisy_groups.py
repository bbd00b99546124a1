"""Groups of operators are halved where the noise is, and no further."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tvmcomp.quantize.noisy_groups import noisy_groups


def measured(noise: dict[str, float]):
    """A measurement of groups whose operators' noises add up, and what it was asked for."""
    asked: list[tuple[str, ...]] = []

    def measure(names: Sequence[str]) -> float:
        asked.append(tuple(names))
        return sum(noise[name] for name in names)

    return measure, asked


def test_few_noisy_operators_are_found_in_few_measurements() -> None:
    noise = {f"op{i}": 1e-6 for i in range(256)} | {"op17": 5.0, "op200": 3.0}
    measure, asked = measured(noise)
    groups = noisy_groups(list(noise), measure, harmless=0.01, most=1000)
    assert [group.names for group in groups[:2]] == [("op17",), ("op200",)]
    assert len(asked) <= 2 * 2 * 8 + 1


@pytest.mark.parametrize("seed", range(20))
def test_every_operator_is_in_one_group_and_the_noisiest_come_first(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"op{i}" for i in range(rng.integers(1, 60))]
    noise = dict(zip(names, 10.0 ** rng.uniform(-4, 1, len(names)), strict=True))
    measure, asked = measured(noise)
    harmless, most = 10.0 ** rng.uniform(-3, 0), int(rng.integers(1, 150))
    groups = noisy_groups(names, measure, harmless, most)
    assert sorted(name for group in groups for name in group.names) == sorted(names)
    assert len(asked) <= most
    shares = [group.noise / len(group.names) for group in groups]
    assert shares == sorted(shares, reverse=True)
    if len(asked) + 2 <= most:  # Nothing was left for want of measurements.
        assert all(len(group.names) == 1 or group.noise <= harmless for group in groups)


def test_what_gives_no_number_at_all_is_looked_into() -> None:
    noise = {"a": 0.0, "b": float("inf"), "c": 0.0}
    measure, _ = measured(noise)
    groups = noisy_groups(list(noise), measure, harmless=0.01, most=10)
    assert groups[0].names == ("b",)
