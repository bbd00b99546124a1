"""Groups of channels, and cutting them: what is cut out gives what reading it as zero gives."""

from __future__ import annotations

from needed import package

package("torch", "compress")

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402
import pytest  # noqa: E402
from random_networks import (  # noqa: E402
    BLOCKS,
    CHANNELS,
    SIZE,
    block_network,
    drawn_network,
    exchanged,
    tied_groups,
)

from tvmcomp.compress.channels.cut import cut  # noqa: E402
from tvmcomp.compress.channels.groups import Groups, find_groups  # noqa: E402
from tvmcomp.compress.channels.mask import masked  # noqa: E402


def outputs(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {"x": x})[0]


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, CHANNELS, SIZE, SIZE)).astype("float32")


def some_of(groups: Groups, seed: int, share: float) -> set[int]:
    """Classes to remove: at random, at least one of each group stays."""
    random = np.random.default_rng(seed)
    removed: set[int] = set()
    for group in groups.groups:
        count = int(random.integers(0, max(1, int(share * len(group.classes))) + 1))
        count = min(count, len(group.classes) - 1)
        removed |= {int(each) for each in random.choice(group.classes, count, replace=False)}
    return removed


def assert_cut_as_masked(groups: Groups, removed: set[int], seed: int) -> None:
    smaller, zeroed = cut(groups, removed), masked(groups, removed).model
    onnx.checker.check_model(smaller, full_check=True)
    got, wanted = outputs(smaller, image(seed)), outputs(zeroed, image(seed))
    assert np.isfinite(wanted).all()
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5 * max(1, np.abs(wanted).max()))


def elements(model: onnx.ModelProto) -> int:
    return sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)


@pytest.mark.parametrize("name", BLOCKS)
def test_channels_of_each_block_can_be_cut(name, tmp_path):
    for seed in range(3):
        model = block_network(tmp_path, BLOCKS[name], seed)
        groups = find_groups(model)
        assert groups.groups
        for number, group in enumerate(groups.groups):
            for removed in (set(group.classes[1::2]), set(group.classes[:-1])):
                assert elements(cut(groups, removed)) < elements(model)
                assert_cut_as_masked(groups, removed, number)


@pytest.mark.parametrize("seed", range(5))
def test_what_a_weight_makes_is_of_a_group_or_named(seed, tmp_path):
    for model in (drawn_network(tmp_path, seed), block_network(tmp_path, tied_groups, seed)):
        groups = find_groups(model)
        named = {fixed.node for fixed in groups.fixed}
        made = {made.node for made in groups.flow.made}
        assert made == named | {maker for group in groups.groups for maker in group.makers}


def test_of_each_part_that_is_taken_something_stays(tmp_path):
    groups = find_groups(block_network(tmp_path, exchanged))
    first, second = (group for group in groups.groups if group.name == "conv_0")
    assert (len(first.classes), len(second.classes)) == (2, 10)
    groups = find_groups(block_network(tmp_path, tied_groups))
    alone = [fixed for fixed in groups.fixed if "all together" in fixed.reason]
    assert {fixed.channels for fixed in alone} == {12}


@pytest.mark.parametrize("seed", range(20))
def test_what_is_cut_out_is_what_reads_as_zero(seed, tmp_path):
    model = drawn_network(tmp_path, seed)
    groups = find_groups(model)
    for share in (0.3, 0.9):
        removed = some_of(groups, seed, share)
        assert_cut_as_masked(groups, removed, seed)
    assert {fixed.node for fixed in groups.fixed}  # what makes the outputs can't be cut


def test_nothing_removed_is_the_network(tmp_path):
    model = drawn_network(tmp_path, 0)
    groups = find_groups(model)
    for same in (cut(groups, ()), masked(groups).model):
        np.testing.assert_array_equal(outputs(same, image(0)), outputs(model, image(0)))
