"""The choice of bits: harm per byte."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tvmcomp.compress.fake_quantize.bits import (  # noqa: E402
    Cost,
    descents,
    entropy,
    spare_harmful,
    total_bytes,
)

#: A small weight that does much harm, a large one that does some, and one that does none.
COSTS = {
    "stem": Cost(0.1, 3.0, 300),
    "wide": Cost(0.02, 3.0, 50_000),
    "idle": Cost(1e-9, 3.0, 10_000),
}


def test_a_small_weight_that_does_much_harm_gets_more_bits():
    assert spare_harmful(COSTS, 4) == {"stem": 8, "wide": 4, "idle": 4}


def test_no_more_than_a_twentieth_is_spent_on_them():
    alike = {name: Cost(0.01, 3.0, 1000) for name in "abcd"}
    assert set(spare_harmful(alike, 4).values()) == {4}
    many = {str(i): Cost(0.01, 3.0, 100) for i in range(100)}
    chosen = spare_harmful(many, 4)
    assert 4 in chosen.values()
    assert total_bytes(many, chosen) <= 1.05 * total_bytes(many, dict.fromkeys(many, 4))


def test_bits_fall_where_they_do_the_least_harm_a_byte():
    steps = list(descents(COSTS, {}))
    assert steps[0] == dict.fromkeys(COSTS, 8)
    assert steps[4] == {"stem": 8, "wide": 8, "idle": 3}
    assert steps[-1] == dict.fromkeys(COSTS, 3)
    sizes = [total_bytes(COSTS, bits) for bits in steps]
    assert sizes == sorted(sizes, reverse=True)


def test_fixed_bits_stay():
    assert all(bits["stem"] == 5 for bits in descents(COSTS, {"stem": 5}))


def test_a_bit_less_is_four_times_the_noise_and_a_bit_a_weight():
    cost = Cost(0.01, 3.0, 800)
    assert cost.noise_at(3) == pytest.approx(0.04)
    assert cost.bytes_at(4) - cost.bytes_at(3) == pytest.approx(100)


def test_entropy_of_codes():
    assert entropy(np.array([0, 1, 2, 3])) == 2
    assert entropy(np.zeros(5)) == 0
    assert entropy(np.array([0, 0, 0, 1])) == pytest.approx(0.8113, abs=1e-4)
