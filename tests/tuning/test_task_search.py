"""Where the tuner's time goes."""

import pytest

from tvmcomp.tuning.log.record import Workload
from tvmcomp.tuning.space import Candidate
from tvmcomp.tuning.task import Task
from tvmcomp.tuning.task_search import PATIENCE, TaskSearch


@pytest.fixture
def make():
    def search(baseline_seconds, roofline_seconds, weight=1, idle=0, ours=True):
        task = Task("kernel", None, weight)
        key = Workload("0" * 16, "kernel", ())
        search = TaskSearch(task, ("kernel",), key, Candidate(None, []), [], roofline_seconds)
        search.baseline_seconds, search.idle = baseline_seconds, idle
        search.guess = Candidate(None, []) if ours else None
        return search

    return search


def test_time_goes_where_an_inference_can_gain_most(make):
    far = make(baseline_seconds=4.0, roofline_seconds=1.0)
    often = make(baseline_seconds=2.0, roofline_seconds=1.0, weight=10)
    at_roof = make(baseline_seconds=20.0, roofline_seconds=20.0)
    unlucky = make(baseline_seconds=4.0, roofline_seconds=1.0, idle=PATIENCE // 2)
    by_rules = make(baseline_seconds=6.0, roofline_seconds=1.0, ours=False)
    assert 0 < by_rules.promise < far.promise
    ranked = sorted([at_roof, unlucky, far, often], key=lambda each: -each.promise)
    assert ranked[:2] == [often, far] and set(map(id, ranked[2:])) == {id(unlucky), id(at_roof)}


def test_a_search_that_stops_gaining_settles_and_sooner_at_the_roof(make):
    far, at_roof = make(2.0, 1.0, idle=31), make(1.0, 1.0, idle=7)
    assert not far.settled(31 + 1) and far.settled(31)
    assert not at_roof.settled(4 * 7 + 4) and at_roof.settled(4 * 7)


def test_the_incumbent_is_told_in_the_baselines_terms(make):
    search = make(baseline_seconds=3.0, roofline_seconds=1.0, weight=2)
    search.speedup = 1.5
    summary = search.summary("tuned")
    assert (summary.baseline_seconds, summary.incumbent_seconds) == (3.0, 2.0)
    assert make(baseline_seconds=None, roofline_seconds=1.0).promise == 0.0
