"""Masks equal those of torch.nn.utils.prune, and of the rule of TensorFlow's toolkit."""

from __future__ import annotations

import numpy as np
import pytest
from needed import package

torch = package("torch", "compress")

from torch.nn.utils import prune  # noqa: E402

from tvmcomp.compress.sparsify.masks import block_scores, keep_in_all, keep_in_each  # noqa: E402

RNG = np.random.default_rng(0)
SHAPES = {"a": (1, 24, 18), "b": (2, 5, 7), "c": (1, 33, 10)}


def layer(weight: np.ndarray) -> torch.nn.Linear:
    module = torch.nn.Linear(weight.shape[-1], weight.shape[0] * weight.shape[1], bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(weight.reshape(module.weight.shape)))
    return module


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.81, 0.9])
def test_each_weight_as_l1_unstructured(sparsity):
    for shape in SHAPES.values():
        weight = RNG.normal(size=shape).astype("f")
        module = layer(weight)
        prune.l1_unstructured(module, "weight", amount=sparsity)
        mask = keep_in_each(np.abs(weight), sparsity, (1, 1))
        np.testing.assert_array_equal(mask.reshape(module.weight.shape), module.weight_mask != 0)


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.8, 0.95])
def test_all_weights_as_global_unstructured(sparsity):
    weights = {n: RNG.normal(size=s).astype("f") for n, s in SHAPES.items()}
    weights["b"] *= 3
    modules = {n: layer(w) for n, w in weights.items()}
    parameters = [(module, "weight") for module in modules.values()]
    prune.global_unstructured(parameters, prune.L1Unstructured, amount=sparsity)
    scores = {n: np.abs(w) for n, w in weights.items()}
    masks = keep_in_all(scores, sparsity, dict.fromkeys(weights, (1, 1)))
    for name, module in modules.items():
        expected = module.weight_mask != 0
        np.testing.assert_array_equal(masks[name].reshape(expected.shape), expected)


def documented(weight: np.ndarray, sparsity: float) -> np.ndarray:
    """``pruning_impl.Pruning._update_mask``: a threshold at the k-th largest magnitude."""
    magnitudes = np.abs(weight)
    k = int(np.round(np.float32(magnitudes.size) * np.float32(1 - sparsity)))
    threshold = np.sort(magnitudes.reshape(-1))[::-1][k - 1]
    return magnitudes >= threshold


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.77])
def test_each_weight_as_the_toolkit(sparsity):
    weight = RNG.normal(size=(1, 24, 18)).astype("f")
    mask = keep_in_each(np.abs(weight), sparsity, (1, 1))
    np.testing.assert_array_equal(mask, documented(weight, sparsity))


@pytest.mark.parametrize("block", [(4, 1), (16, 4), (3, 5)])
def test_blocks_go_by_their_mean_magnitude(block):
    weight = RNG.normal(size=(1, 33, 22)).astype("f")
    mask = keep_in_each(np.abs(weight), 0.6, block)
    rows, columns = (range(0, size, b) for size, b in zip((33, 22), block, strict=True))
    means, kept = [], []
    for row in rows:
        for column in columns:
            at = (0, slice(row, row + block[0]), slice(column, column + block[1]))
            assert mask[at].all() or not mask[at].any()
            means.append(np.abs(weight[at]).mean())
            kept.append(mask[at].all())
    np.testing.assert_allclose(block_scores(np.abs(weight), block).reshape(-1), means, rtol=1e-5)
    assert sum(kept) == round(0.4 * len(kept))
    assert min(m for m, k in zip(means, kept, strict=True) if k) >= max(
        m for m, k in zip(means, kept, strict=True) if not k
    )


def test_all_weights_with_blocks_of_several_sizes_reach_the_share():
    scores = {"a": RNG.random((1, 64, 64)), "b": RNG.random((1, 16, 30))}
    masks = keep_in_all(scores, 0.7, {"a": (16, 1), "b": (1, 1)})
    zeros = sum(int((~mask).sum()) for mask in masks.values())
    assert abs(zeros - 0.7 * (64 * 64 + 480)) <= 8
