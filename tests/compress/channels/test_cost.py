"""What a network costs at any width: as much as it does when it is cut so and counted."""

from __future__ import annotations

from needed import package

package("torch", "compress")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from random_networks import BLOCKS, block_network  # noqa: E402

from tvmcomp.compress.channels.choice import descent  # noqa: E402
from tvmcomp.compress.channels.cost import NetworkCost, Vectors  # noqa: E402
from tvmcomp.compress.channels.cut import cut  # noqa: E402
from tvmcomp.compress.channels.groups import find_groups  # noqa: E402
from tvmcomp.compress.channels.units import units_of  # noqa: E402
from tvmcomp.compress.cost.arithmetic import multiply_adds  # noqa: E402


@pytest.mark.parametrize("name", BLOCKS)
def test_every_width_costs_what_is_counted(name, tmp_path):
    groups = find_groups(block_network(tmp_path, BLOCKS[name], 2))
    units = units_of(groups)
    assert sorted(n for unit in units for n in unit.nodes) == sorted(
        node.name for node in groups.model.graph.node
    )
    cost = NetworkCost(groups, multiply_adds, lanes=1)
    assert cost.whole == pytest.approx(multiply_adds([groups.model])[0])
    random = np.random.default_rng(0)
    for _ in range(4):
        counts = [int(random.integers(1, len(g.classes) + 1)) for g in groups.groups]
        removed = {
            each
            for group, count in zip(groups.groups, counts, strict=True)
            for each in group.classes[count:]
        }
        shares = {g: cost.share(g, count) for g, count in enumerate(counts)}
        (counted,) = multiply_adds([cut(groups, removed)])
        assert cost.total(shares) == pytest.approx(counted, rel=1e-6)


def test_a_vector_that_is_not_full_counts_as_full():
    wide = Vectors.of(classes=24, width=1, lanes=4)
    assert (wide.size, wide.whole, wide.half) == (4, 24, 12)
    assert [wide.share(n) for n in (1, 4, 5, 24)] == [4 / 24, 4 / 24, 8 / 24, 1]
    narrow = Vectors.of(classes=13, width=1, lanes=4)  # half vectors, and one that is not full
    assert (narrow.size, narrow.whole, narrow.half) == (2, 12, 6)
    assert narrow.share(12) == 1 and narrow.share(13) > 1
    few = Vectors.of(classes=5, width=1, lanes=16)
    assert (few.size, few.whole, few.half) == (2, 4, 2)
    heads = Vectors.of(classes=4, width=8, lanes=4)
    assert (heads.size, heads.whole, heads.half) == (1, 4, 2)


def test_what_harms_least_for_what_it_saves_goes_first(tmp_path):
    groups = find_groups(block_network(tmp_path, BLOCKS["plain"], 0))
    cost = NetworkCost(groups, multiply_adds, lanes=2)
    importance = {each: 1.0 for group in groups.groups for each in group.classes}
    useless = groups.groups[0].classes[3:7]
    importance |= dict.fromkeys(useless, 1e-6)
    first, second, *rest = descent(groups, importance, cost)
    assert not first.removed and first.cost == 1
    assert second.removed <= set(useless)
    assert any(each.removed & {*useless} == {*useless} for each in rest)
    costs = [each.cost for each in (first, second, *rest)]
    harms = [each.harm for each in (first, second, *rest)]
    assert costs == sorted(costs, reverse=True) and harms == sorted(harms)
    for group in groups.groups:
        left = len(set(group.classes) - rest[-1].removed)
        assert left >= 1
    kept = groups.groups[1].name
    for each in descent(groups, importance, cost, keep={kept}):
        assert not each.removed & {*groups.groups[1].classes}
