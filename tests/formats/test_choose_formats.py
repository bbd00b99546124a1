"""The rules of choosing formats, by their numbers, on costs made by hand."""

from __future__ import annotations

from tvmcomp.formats.choose import (
    FormatCosts,
    cheapest_by_model,
    cheapest_mixture,
    fastest,
    worth_building,
)


def costs(*segments, border=0.0, fixed=()):
    """Segments in a chain, each with its time in the asked format and in the other."""
    asked, other = zip(*segments, strict=True)
    borders = {(i, i + 1): border for i in range(len(segments) - 1)}
    return FormatCosts(asked, other, borders, frozenset(fixed))


def turns(seconds, noise=0.0):
    """Ten rounds, every other one slower."""
    return [seconds * (1 + noise * (i % 2)) for i in range(10)]


def test_rule_1_what_has_no_integers_counts_in_the_other_format():
    given = costs((1, 9), (1, 9), (1, 2), border=4, fixed=[1])
    assert given.all == {0, 2}
    # The last one's border to the middle is there whatever it takes, unless it moves too.
    assert cheapest_mixture(given) == {2}


def test_rule_2_the_sum_counts_with_the_changes_between():
    assert cheapest_mixture(costs((5, 4), (1, 3), (5, 4))) == {0, 2}
    assert cheapest_mixture(costs((5, 4), (1, 3), (5, 4), border=1.5)) == frozenset()
    assert cheapest_mixture(costs((5, 1), (1, 2), (5, 1), border=3)) == {0, 1, 2}


def test_rule_3_a_mixture_must_be_faster_than_both_wholes():
    given = costs((10, 5), (5, 10), border=1)
    assert given.seconds(frozenset()) == given.seconds(given.all) == 15
    assert given.seconds(frozenset([0])) == 11
    assert worth_building(given, frozenset([0]))
    assert not worth_building(costs((10, 9.9), (5, 10)), frozenset([0]))
    assert not worth_building(given, frozenset())
    assert not worth_building(given, given.all)


def test_rule_4_the_asked_one_unless_another_is_faster_beyond_doubt():
    assert fastest([turns(1.0), turns(1.2)]) == 0
    assert fastest([turns(1.0), turns(0.999)]) == 0
    assert fastest([turns(1.0), [0.8, 1.2] * 5]) == 0
    assert fastest([turns(1.0), turns(0.9), turns(0.8)]) == 2
    assert fastest([turns(1.0, 0.5), turns(0.9, 0.5)]) == 1


def test_rule_5_a_model_must_be_more_than_a_little_faster():
    assert cheapest_by_model(costs((10, 9), (10, 8))) == frozenset()
    assert cheapest_by_model(costs((10, 5), (10, 9))) == {0, 1}
    assert cheapest_by_model(costs((10, 5), (1, 9), border=1)) == {0}
