"""Pruning without training: what is left of each weight makes up for what is not.

The pruned network and the real one run side by side over the samples, as for rounding
(:mod:`tvmcomp.compress.fake_quantize.rounding`). Of each weight the blocks go that harm the
operator's results least, ``w^2 / [H^-1]_kk`` each (Hassibi and Stork's optimal brain surgeon, with
``H`` the second moments of the inputs; as Frantar and Alistarh, "SparseGPT", arXiv:2301.00774, but
for whole blocks), in a few rounds; after each, the weights that are left are those of least squares
on what reaches them now. A bias takes up the mean of what is still missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import torch

from tvmcomp.compress.fake_quantize.lockstep import samples_that_fit
from tvmcomp.compress.fake_quantize.pair import JointMoments, Pair
from tvmcomp.compress.samples import Sample
from tvmcomp.compress.sparsify.held import hold_zeros
from tvmcomp.compress.sparsify.masks import keep_in_each
from tvmcomp.compress.sparsify.polynomial import PolynomialDecay
from tvmcomp.compress.sparsify.prunable import Prunable
from tvmcomp.compress.sparsify.uses import moments_of_shared

#: Rounds of choosing and fitting; sparsity rises in them as it does in training.
_ROUNDS = 4
#: Steps of conjugate gradients in a round.
_FITTING = 30
#: Share of H's mean diagonal that is added to it: H comes from few samples.
_DAMPING = 0.01


def prune_at_once(
    model: onnx.ModelProto,
    chosen: Sequence[Prunable],
    sparsity: Mapping[str, float],
    samples: Sequence[Sample],
    step: Callable[[], None] = lambda: None,
) -> onnx.ModelProto:
    """``model`` without the blocks that harm least, and the others fitted anew.

    Args:
        model: a prepared float graph.
        chosen: the weights to prune.
        sparsity: the share of each weight's blocks that goes, by its tensor's name.
        samples: that the networks run on; of very large tensors not all are used.
        step: is called after each weight.
    """
    shared = moments_of_shared(model, chosen, samples)
    pair = Pair(model, model, samples[: samples_that_fit(model, 2)])
    by_node = {node: each for each in chosen for node in each.nodes}
    for index, node in enumerate(pair.changed.network.nodes):
        each = by_node.get(node.name)
        if each is not None and node.name == each.weight.node:
            moments = shared.get(each.weight.tensor) or pair.moments(each.weight, node)
            _prune(pair, each, sparsity[each.weight.tensor], moments)
            step()
        pair.run(index)
        if each is not None:
            pair.correct_bias(each.weight, node)
    pruned = pair.changed.network.to_onnx()
    hold_zeros(pruned, (each.weight.tensor for each in chosen))
    return pruned


def _prune(pair: Pair, chosen: Prunable, sparsity: float, moments: JointMoments) -> None:
    """Prune the weight of the node that runs next."""
    weight = chosen.weight
    value = pair.parameters[weight.tensor]
    matrices = weight.matrices(value.detach().numpy().astype(np.float64))
    fitted = prune_matrices(matrices, moments, sparsity, chosen)
    with torch.no_grad():
        whole = np.ascontiguousarray(weight.from_matrices(fitted), np.float32)
        value.copy_(torch.from_numpy(whole))


def prune_matrices(
    matrices: np.ndarray, moments: JointMoments, sparsity: float, chosen: Prunable
) -> np.ndarray:
    """``matrices [G, O, K]`` with a share ``sparsity`` of their blocks zero, the others fitted."""
    square = damped(moments.square)
    # What multiplies the inputs as they are now to give the results that were: W (H + drift) H^-1.
    target = matrices @ (square + moments.drift)
    harm = 1 / np.diagonal(np.linalg.inv(square), axis1=-2, axis2=-1)[:, None, :]
    rise = PolynomialDecay(0.0, sparsity, 0, _ROUNDS)
    fitted = matrices
    for number in range(1, _ROUNDS + 1):
        kept = keep_in_each(fitted**2 * harm, rise.sparsity(number), chosen.block)
        fitted = fit(fitted * kept, kept, target, square)
    return fitted


def fit(start: np.ndarray, kept: np.ndarray, target: np.ndarray, square: np.ndarray) -> np.ndarray:
    """The matrix of least squares that is zero where ``kept`` is not: each row by conjugate
    gradients, all of them at a time.

    Args:
        start: ``[G, O, K]``, zero where ``kept`` is not.
        kept: bool, likewise.
        target: ``[G, O, K]``: the solution ``W`` has ``(W square)`` equal to it where kept.
        square: ``[G, K, K]``, positive.
    """
    scale = 1 / np.diagonal(square, axis1=-2, axis2=-1)[:, None, :]
    fitted = start
    residual = (target - fitted @ square) * kept
    scaled = residual * scale
    direction = scaled
    power = np.sum(residual * scaled, axis=-1, keepdims=True)
    enough = 1e-8 * power
    for _ in range(_FITTING):
        moved = (direction @ square) * kept
        length = power / np.maximum(np.sum(direction * moved, axis=-1, keepdims=True), 1e-300)
        length = np.where(power > enough, length, 0.0)
        fitted = fitted + length * direction
        residual = residual - length * moved
        scaled = residual * scale
        now = np.sum(residual * scaled, axis=-1, keepdims=True)
        if not (now > enough).any():
            break
        direction = scaled + now / np.maximum(power, 1e-300) * direction
        power = now
    return fitted


def damped(square: np.ndarray) -> np.ndarray:
    """``square [G, K, K]`` with a little on its diagonal."""
    count = square.shape[-1]
    mean = np.trace(square, axis1=-2, axis2=-1)[:, None, None] / count
    mean = np.where(mean > 0, mean, 1.0)  # No data at all.
    result: np.ndarray = square + _DAMPING * mean * np.eye(count)
    return result
