"""Which blocks of weights are kept: those of the largest scores, in each weight or in all.

A weight is its matrices ``[G, O, K]``: groups, outputs, inputs of each
(:class:`tvmcomp.compress.fake_quantize.weights.Weight`). A block is some outputs by some inputs;
what is left at the edges is a smaller one. Scores of a block are the mean of its elements', as the
toolkit of TensorFlow pools them; where a block is one weight this is ``torch.nn.utils.prune``'s
``l1_unstructured`` in each weight, and ``global_unstructured`` in all. (Of a half the toolkit
rounds how many are kept, and torch how many go; in each weight it is done as the toolkit does.)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

#: Outputs and inputs of a block.
Block = tuple[int, int]


def block_scores(scores: np.ndarray, block: Block) -> np.ndarray:
    """The mean of each block of ``scores [G, O, K]``: ``[G, ceil(O / b0), ceil(K / b1)]``."""
    return _pooled(scores, block) / _pooled(np.ones(scores.shape), block)


def elements(blocks: np.ndarray, block: Block, shape: tuple[int, ...]) -> np.ndarray:
    """What belongs to each element of ``shape [G, O, K]``, out of its block's."""
    wide = np.repeat(np.repeat(blocks, block[0], 1), block[1], 2)
    return wide[:, : shape[1], : shape[2]]


def keep_in_each(scores: np.ndarray, sparsity: float, block: Block) -> np.ndarray:
    """The mask of one weight: True where it is kept. One block is, at least.

    How many are is rounded in float32, as the toolkit of TensorFlow does.

    Args:
        scores: of its elements, ``[G, O, K]``.
        sparsity: share of the blocks that is not kept.
        block: its size.
    """
    pooled = block_scores(scores, block)
    share = np.float32(1) - np.float32(sparsity)
    kept = max(1, int(np.round(np.float32(pooled.size) * share)))
    threshold = np.partition(pooled.reshape(-1), pooled.size - kept)[pooled.size - kept]
    return elements(pooled >= threshold, block, scores.shape)


def keep_in_all(
    scores: Mapping[str, np.ndarray], sparsity: float, blocks: Mapping[str, Block]
) -> dict[str, np.ndarray]:
    """The masks of several weights: one threshold for the blocks of all.

    Args:
        scores: of the elements of each weight, ``[G, O, K]``; comparable from one to another.
        sparsity: share of all elements that is not kept.
        blocks: the size of each weight's.
    """
    pooled = {name: block_scores(each, blocks[name]) for name, each in scores.items()}
    counts = {name: _pooled(np.ones(each.shape), blocks[name]) for name, each in scores.items()}
    flat = np.concatenate([each.reshape(-1) for each in pooled.values()])
    sizes = np.concatenate([each.reshape(-1) for each in counts.values()])
    order = np.argsort(flat, kind="stable")
    gone = np.zeros(flat.size, bool)
    # As many of the least as come closest to the share.
    reached = np.cumsum(sizes[order])
    least = int(np.argmin(np.abs(reached - round(sparsity * reached[-1])))) + 1
    gone[order[: least if sparsity > 0 else 0]] = True
    masks, begin = {}, 0
    for name, each in pooled.items():
        kept = ~gone[begin : begin + each.size].reshape(each.shape)
        begin += each.size
        masks[name] = elements(kept, blocks[name], scores[name].shape)
    return masks


def _pooled(values: np.ndarray, block: Block) -> np.ndarray:
    """The sum of each block."""
    outputs, inputs = (
        np.arange(0, size, b) for size, b in zip(values.shape[1:], block, strict=True)
    )
    return np.add.reduceat(np.add.reduceat(values, outputs, axis=1), inputs, axis=2)
