"""Times in turns, by a clock that the tests turn."""

from __future__ import annotations

import pytest

from tvmcomp.formats.attribute import KernelCall, seconds_of_calls, seconds_of_segments
from tvmcomp.formats.measure import profile_in_turns, time_in_turns
from tvmcomp.formats.segments import Segments


class Clockwork:
    """A network that takes what it is told to, and more whenever the machine is slow."""

    def __init__(self, seconds, machine):
        self.seconds, self.machine, self.runs = seconds, machine, []

    def time(self, runs):
        self.runs.append(runs)
        return [self.seconds * self.machine(len(self.runs)) for _ in range(runs)]

    def profile(self, runs):
        return {"kernel": [self.seconds] * 2 * runs}


def test_networks_take_turns():
    order = []
    networks = [Clockwork(1e-3, lambda _: order.append("a") or 1), Clockwork(2e-3, lambda _: 1)]
    first, second = time_in_turns(networks)
    assert len(first) == len(second) >= 9
    assert set(first) == {1e-3} and set(second) == {2e-3}
    # The first call tells how many runs fill a turn; then both have as many turns.
    assert len(networks[0].runs) == len(networks[1].runs)
    assert networks[0].runs[1] == 4 and networks[1].runs[1] == 2


def test_a_long_network_has_few_rounds():
    (times,) = time_in_turns([Clockwork(1.0, lambda _: 1)])
    assert len(times) == 9


def test_rounds_that_disagree_are_taken_again():
    steady = Clockwork(1e-2, lambda _: 1)
    shaken = Clockwork(1e-2, lambda turn: 1 + turn % 2)
    first, second = time_in_turns([steady, shaken])
    once, _ = time_in_turns([Clockwork(1e-2, lambda _: 1), Clockwork(1e-2, lambda _: 1)])
    assert len(first) == len(second) == 2 * len(once)


@pytest.mark.parametrize(("seconds", "runs"), [(1e-3, 15), (0.2, 5), (9.0, 3)])
def test_kernels_are_timed_in_as_many_runs_as_there_is_time_for(seconds, runs):
    networks = [Clockwork(1e-3, lambda _: 1), Clockwork(2e-3, lambda _: 1)]
    profiles, count = profile_in_turns(networks, seconds)
    assert count == runs
    assert profiles == [{"kernel": [1e-3, 1e-3] * runs}, {"kernel": [2e-3, 2e-3] * runs}]


CALLS = (
    KernelCall("conv", frozenset({"first_conv"})),
    KernelCall("pool", frozenset()),
    KernelCall("conv", frozenset({"second_conv"})),
    KernelCall("join", frozenset({"concat"})),
)


def test_each_call_of_a_kernel_has_its_own_time():
    # Two runs of `conv`, `pool`, `conv`; `join` is no call of the driver's.
    profiled = {"conv": [1.0, 5.0, 3.0, 7.0], "pool": [2.0, 2.0]}
    assert seconds_of_calls(CALLS, profiled, 2) == (2.0, 2.0, 6.0, 0.0)


def test_a_kernel_of_a_loop_shares_its_time():
    profiled = {"conv": [1.0] * 12, "pool": [1.0, 3.0]}
    assert seconds_of_calls(CALLS, profiled, 2) == (3.0, 2.0, 3.0, 0.0)


def test_calls_count_to_the_segments_of_their_operators():
    parts = Segments((("input",), ("first",), ("second", "concat")), (None, "first", "second"), {})
    assert seconds_of_segments(parts, CALLS, (1.0, 2.0, 4.0, 8.0)) == (2.0, 1.0, 12.0)


def test_a_call_of_two_anchors_counts_half_to_each():
    parts = Segments((("input",), ("first",), ("second",)), (None, "first", "second"), {})
    both = [KernelCall("conv", frozenset({"first", "second_bias", "input"}))]
    assert seconds_of_segments(parts, both, [3.0]) == (0.0, 1.5, 1.5)


@pytest.mark.parametrize("calls", [(), CALLS])
def test_no_time_is_lost(calls):
    parts = Segments((("input",), ("first", "second", "concat")), (None, "first"), {})
    assert sum(seconds_of_segments(parts, calls, [1.0] * len(calls))) == len(calls)
