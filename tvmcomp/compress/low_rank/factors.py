"""Factors of a weight that lose least of its results on the inputs that it meets.

With ``S`` the inputs' second moments, a weight ``W' `` in the place of ``W`` costs
``|(W - W') x|^2 = tr((W - W') S (W - W')^T)`` in the mean. Whitened by the Cholesky factor of
``S = L L^T`` that is the Frobenius norm of ``(W - W') L``, so the best weight of rank r is the
truncated singular value decomposition of ``W L``, unwhitened (Wang et al., "SVD-LLM",
arXiv:2403.07378). Its left singular vectors ``U`` are the eigenvectors of ``W S W^T``, and

    W' = U_r U_r^T W

needs neither ``L`` nor an inverse, where ``S`` of few samples is singular. Of several factors the
last is the least-squares fit to what the others leave.

What comes out of a first factor is turned by an orthogonal matrix, and the last turns it back: else
its channels have the variances of principal components, and integers of one scale hold few of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

#: Share of the mean diagonal of moments that is added to them before a system is solved.
_RIDGE = 1e-9


def narrow(weight: np.ndarray, square: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The best two factors of a product: ``first [r, K]`` and ``last [O, r]``.

    Args:
        weight: float64 [O, K].
        square: moments of its inputs [K, K].
        rank: from 1 to O.
    """
    back = _components(weight @ square @ weight.T, rank) @ hartley(rank)
    return back.T @ weight, back


def lost(weight: np.ndarray, approximated: np.ndarray, square: np.ndarray) -> float:
    """The mean square of the results' error, over that of the results."""
    error = weight - approximated
    energy = float(np.sum((weight @ square) * weight))
    return float(np.sum((error @ square) * error)) / energy if energy > 0 else 0.0


def tucker(
    weight: np.ndarray, square: np.ndarray, taps: int, ranks: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tucker-2 (Kim et al., arXiv:1511.06530): factors of inputs ``[r1, C]``, core
    ``[r2, r1 * taps]`` and outputs ``[O, r2]``.

    Args:
        weight: float64 [O, C * taps], the taps of a channel side by side.
        square: moments of its inputs.
        taps: of the kernel.
        ranks: of inputs and outputs.
    """
    outputs, columns = weight.shape
    channels = columns // taps
    by_tap = square.reshape(channels, taps, channels, taps)
    own = np.einsum("ctdt->cd", by_tap) / taps
    white = _cholesky(own)
    unfolded = weight.reshape(outputs, channels, taps).transpose(1, 0, 2).reshape(channels, -1)
    whitened = white.T @ unfolded
    kept = _components(whitened @ whitened.T, ranks[0]) @ hartley(ranks[0])
    inputs = np.linalg.solve(white.T, kept).T  # what stays of x is white @ kept @ inputs @ x
    first = np.kron(inputs, np.eye(taps))
    core = least_squares(weight, square, first)
    last, back = narrow(core, first @ square @ first.T, ranks[1])
    return inputs, last, back


def spatial(
    weight: np.ndarray, square: np.ndarray, kernel: tuple[int, int], rank: int
) -> tuple[np.ndarray, np.ndarray]:
    """A column and a row (Jaderberg et al., arXiv:1405.3866): ``[r, C * h]``, then
    ``[O, r * w]``.

    Args:
        weight: float64 [O, C * h * w].
        square: moments of its inputs.
        kernel: h and w.
        rank: channels in between.
    """
    high, wide = kernel
    outputs = len(weight)
    channels = weight.shape[1] // (high * wide)
    by_column = square.reshape(channels * high, wide, channels * high, wide)
    own = np.einsum("ajbj->ab", by_column) / wide
    unfolded = weight.reshape(outputs, channels * high, wide).transpose(0, 2, 1)
    white = _cholesky(own)
    whitened = unfolded.reshape(outputs * wide, -1) @ white  # [O * w, C * h]
    kept = _components(whitened.T @ whitened, rank) @ hartley(rank)
    column = np.linalg.solve(white.T, kept).T
    return column, least_squares(weight, square, np.kron(column, np.eye(wide)))


def least_squares(weight: np.ndarray, square: np.ndarray, first: np.ndarray) -> np.ndarray:
    """``last`` [O, r] of the least loss of ``last @ first``, for ``first`` [r, K]."""
    seen = first @ square @ first.T
    ridge = _RIDGE * max(float(np.trace(seen)) / len(seen), np.finfo(np.float64).tiny)
    wanted = first @ square @ weight.T
    solved: np.ndarray = np.linalg.solve(seen + ridge * np.eye(len(seen)), wanted)
    return solved.T


def hartley(size: int) -> np.ndarray:
    """An orthogonal matrix whose rows all have about the same share of everything."""
    angle = 2 * math.pi / size * np.outer(np.arange(size), np.arange(size))
    return (np.cos(angle) + np.sin(angle)) / math.sqrt(size)


def composed(factors: Sequence[np.ndarray], taps: Sequence[int]) -> np.ndarray:
    """The one weight that ``factors``, the first first, stand for.

    Args:
        factors: matrices [outputs, inputs * own taps].
        taps: how many taps of the whole kernel a column of each factor's results stands for.
    """
    whole = np.kron(factors[0], np.eye(taps[0]))
    for factor, own in zip(factors[1:], taps[1:], strict=True):
        whole = np.kron(factor, np.eye(own)) @ whole
    return whole


def _components(square: np.ndarray, count: int) -> np.ndarray:
    """The eigenvectors of the ``count`` largest eigenvalues, as columns."""
    return np.linalg.eigh((square + square.T) / 2)[1][:, ::-1][:, :count]


def _cholesky(square: np.ndarray) -> np.ndarray:
    """L, lower triangular, with ``L L^T`` nearly ``square``, which may be singular."""
    mean = max(float(np.trace(square)) / len(square), np.finfo(np.float64).tiny)
    share = _RIDGE
    while True:
        try:
            return np.linalg.cholesky(square + share * mean * np.eye(len(square)))
        except np.linalg.LinAlgError:
            share *= 10
