"""GPTQ: each weight's rounding error is made good by the weights that are not yet rounded.

Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers" (arXiv:2210.17323). The error that counts is that of the operator's results on its
inputs x, ``|(W - Q) x|^2 = (w - q) H (w - q)`` a row, with H the mean of ``x x^T``. Nearest
rounding minimises it only where H is diagonal; inputs of a convolution or product are far from
independent.

Computed as Babai's nearest plane (Chen et al., "The Geometry of LLM Quantization",
arXiv:2507.18553, show that it is the same): with ``H = U U^T``, U upper triangular, column i of
the errors ``e = w - q`` adds ``U[i, i] e[i] + sum of U[j, i] e[j] over j < i`` to the whole,
squared, so its code is the one nearest to ``w[i] + sum(U[j, i] e[j]) / U[i, i]``. No inverse is
needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from tvmcomp.quantize.rounding.codes import largest_code, nearest

#: Share of H's mean diagonal that is added to it: H comes from few samples and may be singular.
_DAMPING = 0.01
#: Times that the damping is raised tenfold where H is not positive, by rounding errors in it.
_MOST_TRIES = 5
#: Columns whose errors are gathered in one matrix product.
_BLOCK = 128

#: Of what a column should be, and of what it is, what it becomes.
Rounded: TypeAlias = Callable[[np.ndarray, np.ndarray], np.ndarray]


def gptq(weight: np.ndarray, hessian: np.ndarray, scale: np.ndarray, bits: int) -> np.ndarray:
    """The codes of a weight, by what they do to the results.

    Of each row the nearest codes are kept where they are better on ``hessian``, which happens: one
    column after the other finds no optimum. Inputs that are always 0 get the nearest codes. A
    weight that is 0 stays 0: it was pruned, and what skips zeros is fast by it.

    Args:
        weight: float [..., O, K]: O outputs, K inputs; leading axes are groups, each with a Hessian
            of its own.
        hessian: float [..., K, K], the mean of ``x x^T`` over inputs, or a multiple.
        scale: float32 [..., O], a step's size.
        bits: 2 to 8.

    Returns:
        int8 [..., O, K], between ``-(2^(bits-1) - 1)`` and ``2^(bits-1) - 1``.

    Raises:
        ValueError: the shapes don't fit, ``bits`` is out of range, or ``hessian`` is not finite or
            not a mean of squares.
    """
    if hessian.shape != (*weight.shape[:-2], *weight.shape[-1:] * 2):
        raise ValueError(f"a Hessian of {hessian.shape} does not fit a weight of {weight.shape}")
    if scale.shape != weight.shape[:-1]:
        raise ValueError(f"scales of {scale.shape} do not fit a weight of {weight.shape}")
    plain = nearest(weight, scale, bits)
    if not weight.size:
        return plain
    limit, steps = largest_code(bits), scale.astype(np.float64)[..., None]
    values = rounded_in_turn(
        weight,
        hessian,
        lambda wanted, own: (
            np.where(own == 0, 0, np.clip(np.rint(wanted / steps), -limit, limit)) * steps
        ),
        plain * steps,
    )
    return np.rint(values / steps).astype(np.int8)


def rounded_in_turn(
    weight: np.ndarray,
    hessian: np.ndarray,
    rounded: Rounded,
    plain: np.ndarray,
) -> np.ndarray:
    """A weight whose values are of any set, each row the better of two on ``hessian``.

    Args:
        weight: float [..., O, K].
        hessian: float [..., K, K], as of :func:`gptq`.
        rounded: gives what a column [..., O, 1] becomes, of what it should be to make good the
            errors before it, and of what it is.
        plain: [..., O, K], each weight rounded by itself.

    Returns:
        float64 [..., O, K]: of each row ``plain``, or what makes good each column's error by those
        that come after it.

    Raises:
        ValueError: ``hessian`` is not finite or not a mean of squares.
    """
    diagonal = np.diagonal(hessian, axis1=-2, axis2=-1)
    order = np.argsort(-diagonal, axis=-1, kind="stable")  # What matters most is rounded first.
    columns = order[..., None, :]
    ordered = np.take_along_axis(np.take_along_axis(hessian, order[..., None], -2), columns, -1)
    upper = _factor(ordered.astype(np.float64))
    weights = np.take_along_axis(weight, columns, -1).astype(np.float64)
    values = _nearest_plane(weights, upper, rounded)
    alone = np.take_along_axis(plain, columns, -1)
    worse = _cost(weights - values, upper) > _cost(weights - alone, upper)
    values = np.where(worse[..., None], alone, values)
    result = np.empty_like(values)
    np.put_along_axis(result, np.broadcast_to(columns, values.shape), values, -1)
    return result


def hessian_error(error: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """What an error [..., O, K] of the weights does to each output, squared: [..., O]."""
    return np.einsum("...ok,...ok->...o", error @ hessian, error)


def _nearest_plane(weights: np.ndarray, upper: np.ndarray, rounded: Rounded) -> np.ndarray:
    errors, values = np.zeros_like(weights), np.empty_like(weights)
    # Relative to the diagonal, so that a column's sum is the correction of its weight.
    relative = upper / np.diagonal(upper, axis1=-2, axis2=-1)[..., None, :]
    count = weights.shape[-1]
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        block = errors[..., :start] @ relative[..., :start, start:stop]
        block += weights[..., start:stop]
        within = np.ascontiguousarray(relative[..., start:stop, start:stop])
        for i in range(stop - start):
            weight = weights[..., start + i, None]
            value = rounded(block[..., i : i + 1], weight)
            error = weight - value
            values[..., start + i] = value[..., 0]
            errors[..., start + i] = error[..., 0]
            block[..., i + 1 :] += error * within[..., i, None, i + 1 :]
    return values


def _cost(error: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """The squared error of each output, [..., O]."""
    return np.square(error @ upper).sum(axis=-1)


def _factor(hessian: np.ndarray) -> np.ndarray:
    """U, upper triangular, with ``U U^T`` the damped ``hessian`` [..., K, K], which is changed."""
    count = hessian.shape[-1]
    mean = np.trace(hessian, axis1=-2, axis2=-1)[..., None, None] / count
    if not np.isfinite(mean).all() or (mean < 0).any():
        raise ValueError("the Hessian is not finite or not a mean of squares")
    mean[mean == 0] = 1.0  # No data at all: every code is the nearest one.
    identity = np.eye(count)
    damping, added = _DAMPING, 0.0
    for _ in range(_MOST_TRIES):
        hessian += (damping - added) * mean * identity
        added = damping
        try:
            # Backwards, as numpy's factor is lower triangular.
            return np.linalg.cholesky(hessian[..., ::-1, ::-1])[..., ::-1, ::-1]
        except np.linalg.LinAlgError:
            damping *= 10
    raise ValueError("the Hessian is not finite or not a mean of squares")
