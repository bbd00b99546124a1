"""The parts of a network that have one format each."""

from __future__ import annotations

import numpy as np
from passes.relax_modules import module, relax, uniform

from tvmcomp import targets
from tvmcomp.formats.choose import cheapest_by_model
from tvmcomp.formats.model import change_seconds, modelled_costs
from tvmcomp.formats.segments import segments_of
from tvmcomp.passes.rewriter import const

RNG = np.random.default_rng(0)


def residual(emit, x):
    """Two products, a residual around the second, and a softmax."""
    first = emit(relax.op.matmul(x, const(uniform(RNG, 64, 256))), "first")
    active = emit(relax.op.nn.relu(first), "active")
    second = emit(relax.op.matmul(active, const(uniform(RNG, 256, 256))), "second")
    joined = emit(relax.op.add(second, active), "joined")
    return [emit(relax.op.nn.softmax(joined), "y")]


NETWORK = module(residual, x=(32, 64))


def test_an_anchor_and_what_follows_it_are_one():
    parts = segments_of(NETWORK)
    assert parts.operators == ((), ("first", "active"), ("second", "joined", "y"))
    assert parts.anchors == (None, "first", "second")
    # Both the product and the residual read `active`.
    assert parts.borders == {(1, 2): 2 * 32 * 256}


def test_the_model_keeps_integers_where_one_instruction_adds_up_four():
    parts = segments_of(NETWORK)
    for name in ("cascadelake", "rpi5", "graviton3", "sapphirerapids"):
        costs = modelled_costs(NETWORK, parts, frozenset([0]), targets.load(name))
        assert cheapest_by_model(costs) == frozenset(), name
        assert all(0 < a < o for a, o in zip(costs.asked[1:], costs.other[1:], strict=True))


def test_the_model_leaves_integers_where_they_are_emulated():
    parts = segments_of(NETWORK)
    costs = modelled_costs(NETWORK, parts, frozenset([0]), targets.load("riscv64"))
    assert cheapest_by_model(costs) == {1, 2}


def test_a_change_of_format_takes_longer_for_more_numbers():
    rpi = targets.load("rpi4")
    assert 0 < change_seconds(1000, rpi) < change_seconds(1_000_000, rpi) < 1e-2
