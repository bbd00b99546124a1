"""Pruning at once: least squares on what is kept, and better than by magnitude."""

from __future__ import annotations

import numpy as np
import pytest
from needed import package

package("torch", "compress")

from compress.fake_quantize.rounded_networks import (  # noqa: E402
    node,
    normal,
    prepared,
    samples_of,
)
from onnx import numpy_helper  # noqa: E402

from tvmcomp.compress.running import Runner  # noqa: E402
from tvmcomp.compress.sparsify.held import held_zeros  # noqa: E402
from tvmcomp.compress.sparsify.masks import block_scores, keep_in_each  # noqa: E402
from tvmcomp.compress.sparsify.one_shot import fit, prune_at_once  # noqa: E402
from tvmcomp.compress.sparsify.prunable import prunable  # noqa: E402
from tvmcomp.compress.sparsify.shares import by_harm  # noqa: E402

RNG = np.random.default_rng(0)


def correlated(rows: int, size: int) -> np.ndarray:
    return RNG.normal(size=(rows, size)) @ RNG.normal(size=(size, size)) * 0.3


def test_fit_is_least_squares_on_the_kept():
    inputs = correlated(500, 24)
    square = (inputs.T @ inputs / 500)[None]
    weight = RNG.normal(size=(1, 5, 24))
    kept = RNG.random((1, 5, 24)) < 0.4
    fitted = fit(weight * kept, kept, weight @ square, square)
    assert not fitted[~kept].any()
    for row in range(5):
        at = np.flatnonzero(kept[0, row])
        best = np.linalg.lstsq(inputs[:, at], inputs @ weight[0, row], rcond=None)[0]
        wanted, found = (np.square(inputs[:, at] @ w - inputs @ weight[0, row]).sum()
                         for w in (best, fitted[0, row, at]))  # fmt: skip
        assert found <= 1.02 * wanted + 1e-9


def network():
    weights = {
        "w0": normal(32, 12, 1, 1, seed=1, scale=0.3),
        "b0": normal(32, seed=2),
        "w1": normal(40, 32, 1, 1, seed=3, scale=0.2),
        "d": normal(40, 1, 3, 3, seed=4, scale=0.3),
        "w2": normal(24, 40, 3, 3, seed=5, scale=0.1),
        "w3": normal(24, 10, seed=6, scale=0.3),
    }
    nodes = [
        node("Conv", ["x", "w0", "b0"], ["c0"], "c0"),
        node("Relu", ["c0"], ["r0"], "r0"),
        node("Conv", ["r0", "w1"], ["c1"], "c1"),
        node("Conv", ["c1", "d"], ["cd"], "cd", group=40, pads=[1, 1, 1, 1]),
        node("Relu", ["cd"], ["r1"], "r1"),
        node("Conv", ["r1", "w2"], ["c2"], "c2"),
        node("GlobalAveragePool", ["c2"], ["p"], "p"),
        node("Flatten", ["p"], ["f"], "f"),
        node("MatMul", ["f", "w3"], ["y"], "m"),
    ]
    return prepared(nodes, {"x": (1, 12, 6, 6)}, ["y"], weights)


def test_what_is_pruned_and_in_which_blocks():
    found = {each.weight.node: each.block for each in prunable(network(), (16, 4))}
    assert found == {"c0": (16, 4), "c1": (16, 4), "c2": (1, 1), "m": (16, 4)}
    assert {each.weight.node for each in prunable(network(), (16, 4), ["c?"])} == {"m"}


def arrays(model):
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_a_network_is_pruned_and_fitted(scope):
    model = network()
    samples = samples_of(model, 48)
    chosen = prunable(model, (16, 1))
    shares = {each.weight.tensor: 0.5 for each in chosen}
    if scope == "global":
        shares = by_harm(model, chosen, 0.5, samples)
        assert len(set(shares.values())) > 1
    pruned = prune_at_once(model, chosen, shares, samples)
    assert held_zeros(pruned) == set(shares)
    found, before = arrays(pruned), arrays(model)
    zeros = sum(int((found[name] == 0).sum()) for name in shares)
    assert zeros / sum(found[name].size for name in shares) == pytest.approx(0.5, abs=0.03)
    for each in chosen:
        blocks = each.weight.matrices(found[each.weight.tensor]) != 0
        shares_kept = block_scores(blocks.astype(float), each.block)
        assert set(np.unique(shares_kept)) <= {0.0, 1.0}
    np.testing.assert_array_equal(found["d"], before["d"])
    # Better than to take the least magnitudes away.
    plain = type(model)()
    plain.CopyFrom(model)
    for each in chosen:
        matrices = each.weight.matrices(before[each.weight.tensor])
        mask = keep_in_each(np.abs(matrices), 0.5, each.block)
        whole = each.weight.from_matrices(matrices * mask)
        for tensor in plain.graph.initializer:
            if tensor.name == each.weight.tensor:
                tensor.CopyFrom(numpy_helper.from_array(whole.astype("f"), tensor.name))
    fresh = samples_of(model, 32, seed=9)
    errors = []
    real = Runner(model)(fresh)["y"]
    for other in (pruned, plain):
        errors.append(float(np.square(Runner(other)(fresh)["y"] - real).sum()))
    assert errors[0] < 0.6 * errors[1]


def towers(*, tied: bool = False):
    """A weight that multiplies next to nothing at first, and ``x`` then; one that is read in
    another way, too, where ``tied``."""
    weights = {
        "w": normal(16, 12, 1, 1, seed=1, scale=0.3),
        "v": normal(24, 16, seed=2, scale=0.3),
        "tiny": np.full(1, 1e-6, np.float32),
        "scale": np.linspace(0.1, 3, 12).reshape(12, 1, 1).astype(np.float32),
    }
    nodes = [
        node("Mul", ["x", "tiny"], ["x0"], "x0"),
        node("Mul", ["x", "scale"], ["x1"], "x1"),
        node("Conv", ["x0", "w"], ["c0"], "c0"),
        node("Conv", ["x1", "w"], ["c1"], "c1"),
        node("Add", ["c0", "c1"], ["s"], "s"),
        node("GlobalAveragePool", ["s"], ["p"], "p"),
        node("Flatten", ["p"], ["f"], "f"),
        node("Gemm", ["f", "v"], ["g"], "g", transB=1),
        node("Softmax" if not tied else "Identity", ["g"], ["h"], "h"),
    ]
    if tied:
        nodes.append(node("MatMul", ["h", "v"], ["y"], "m"))
    return prepared(nodes, {"x": (1, 12, 4, 4)}, ["y" if tied else "h"], weights)


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_a_weight_that_several_share_is_pruned_for_all_of_them(scope):
    model = towers()
    chosen = prunable(model, (1, 1))
    assert [each.nodes for each in chosen] == [("c0", "c1"), ("g",)]
    samples, fresh = samples_of(model, 48), samples_of(model, 32, seed=9)
    shares = {each.weight.tensor: 0.5 for each in chosen}
    if scope == "global":
        shares = by_harm(model, chosen, 0.5, samples)
    pruned = prune_at_once(model, chosen, shares, samples)
    assert held_zeros(pruned) == {"w", "v"}
    assert (arrays(pruned)["w"] == 0).mean() == pytest.approx(shares["w"], abs=0.03)
    # Which are needed is told by what reaches the second reader: the last channels are the largest.
    zeros = (arrays(pruned)["w"] == 0).reshape(16, 12)
    assert zeros[:, :3].mean() > 2 * zeros[:, -3:].mean()
    real, found = (Runner(each)(fresh)["h"] for each in (model, pruned))
    assert np.corrcoef(real.ravel(), found.ravel())[0, 1] > 0.8


def test_a_weight_that_is_read_in_other_ways_stays():
    assert {each.weight.tensor for each in prunable(towers(tied=True), (1, 1))} == {"w"}
