"""Repair: what reads fewer channels gives, as far as it can, what it gave."""

from __future__ import annotations

from needed import package

package("torch", "compress")

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import pytest  # noqa: E402
from random_networks import BLOCKS, block_network, drawn_network  # noqa: E402
from test_groups import image, outputs, some_of  # noqa: E402

from tvmcomp.compress.channels.cut import cut  # noqa: E402
from tvmcomp.compress.channels.groups import find_groups  # noqa: E402
from tvmcomp.compress.channels.repair import repaired  # noqa: E402

SAMPLES = [{"x": image(seed)} for seed in range(64)]
HELD_OUT = [image(seed) for seed in range(1000, 1020)]


def error(model: onnx.ModelProto, other: onnx.ModelProto) -> float:
    """Mean square, over the outputs' variance."""
    before, after = (np.concatenate([outputs(m, x) for x in HELD_OUT]) for m in (model, other))
    return float(np.mean((before - after) ** 2) / before.var())


def doubled(model: onnx.ModelProto, axes: dict[str, int]) -> onnx.ModelProto:
    """A copy whose odd channels are copies of the even ones."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.name in axes:
            array = np.moveaxis(onnx.numpy_helper.to_array(tensor).copy(), axes[tensor.name], 0)
            array[1::2] = array[::2]
            array = np.ascontiguousarray(np.moveaxis(array, 0, axes[tensor.name]))
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return copy


@pytest.mark.parametrize("seed", [1, 3])  # pooled before their Gemm, whose rows suffice
def test_what_is_told_by_others_is_not_missed(seed, tmp_path):
    model = block_network(tmp_path, BLOCKS["plain"], seed)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    same = doubled(model, {n.input[place]: 0 for n in convolutions for place in (1, 2)})
    groups = find_groups(same)
    removed = {each for group in groups.groups for each in group.classes[1::2]}
    assert error(same, cut(groups, removed)) > 1e-2
    assert error(same, repaired(groups, removed, SAMPLES)) < 1e-4


@pytest.mark.parametrize("name", BLOCKS)
def test_every_block_is_mended(name, tmp_path):
    model = block_network(tmp_path, BLOCKS[name], 1)
    groups = find_groups(model)
    removed = {each for group in groups.groups for each in group.classes[1::3]}
    mended = repaired(groups, removed, SAMPLES)
    onnx.checker.check_model(mended)
    read = {name for node in mended.graph.node for name in node.input}
    assert read >= {tensor.name for tensor in mended.graph.initializer}
    assert error(model, mended) < 0.9 * error(model, cut(groups, removed))


@pytest.mark.parametrize("seed", range(6))
def test_random_networks_are_mended(seed, tmp_path):
    model = drawn_network(tmp_path, 100 + seed)
    groups = find_groups(model)
    removed = some_of(groups, seed, 0.4)
    assert error(model, repaired(groups, removed, SAMPLES)) <= error(model, cut(groups, removed))
