"""The choice of bits: harm per byte."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tvmcomp.compress.fake_quantize.bits import (  # noqa: E402
    Cost,
    about,
    descents,
    entropy,
    total_bytes,
)

#: A small weight that does much harm, a large one that does some, and one that does none.
COSTS = {
    "stem": Cost(0.1, 3.0, 300),
    "wide": Cost(0.02, 3.0, 50_000),
    "idle": Cost(1e-9, 3.0, 10_000),
}


def test_what_does_much_harm_for_its_bytes_gets_more_bits_and_what_does_little_fewer():
    room = total_bytes(COSTS, dict.fromkeys(COSTS, 4))
    chosen = about(COSTS, 4, room)
    assert (chosen["stem"], chosen["idle"]) == (8, 3)
    assert total_bytes(COSTS, chosen) <= room


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6])
def test_no_weight_has_more_than_a_bit_less_or_fewer_than_three_unless_asked(bits):
    least = about(COSTS, bits, 0.0)
    assert set(least.values()) == {min(bits, max(3, bits - 1))}


def test_alike_weights_have_about_the_same_bits():
    alike = {name: Cost(0.01, 3.0, 1000) for name in "abcdefgh"}
    chosen = about(alike, 4, total_bytes(alike, dict.fromkeys(alike, 4)))
    assert set(chosen.values()) == {4}


def test_bits_fall_where_they_do_the_least_harm_a_byte():
    steps = list(descents(COSTS, {}))
    assert steps[0] == dict.fromkeys(COSTS, 8)
    assert steps[4] == {"stem": 8, "wide": 8, "idle": 3}
    assert steps[-1] == dict.fromkeys(COSTS, 3)
    sizes = [total_bytes(COSTS, bits) for bits in steps]
    assert sizes == sorted(sizes, reverse=True)


def test_fixed_bits_stay():
    assert all(bits["stem"] == 5 for bits in descents(COSTS, {"stem": 5}))


def test_a_bit_less_is_twice_the_step_or_more_and_a_bit_a_weight():
    cost = Cost(0.01, 3.0, 800)
    assert cost.noise_at(3) == pytest.approx(0.01 * (7 / 3) ** 2)
    assert cost.bytes_at(4) - cost.bytes_at(3) == pytest.approx(100)


def test_entropy_of_codes():
    assert entropy(np.array([0, 1, 2, 3])) == 2
    assert entropy(np.zeros(5)) == 0
    assert entropy(np.array([0, 0, 0, 1])) == pytest.approx(0.8113, abs=1e-4)
