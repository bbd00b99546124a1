"""An anchor's weight in integers, and what its bias gets for the error that this leaves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tvmcomp.qparams import QParams, dequantize, quantize, weight_qparams
from tvmcomp.quantize.planned_operator import PlannedOperator

#: One scale for each row of an embedding's table.
EMBEDDING_AXIS = 0


def weight_axis(kind: str) -> int:
    """The output-channel axis of an anchor's weight: ``[O, *K, I]``, or ``[K, N]`` of a matmul; of
    a recurrent layer's its rows."""
    return 1 if kind == "matmul" else 0


@dataclass(frozen=True)
class RoundedWeight:
    """A weight in integers.

    Attributes:
        codes: int8, of the weight's shape.
        params: what they stand for.
        correction: float32, one value an output channel, to be added to the operator's results;
            None adds nothing.
    """

    codes: np.ndarray
    params: QParams
    correction: np.ndarray | None = None

    @property
    def real(self) -> np.ndarray:
        """The float32 weight that the integers stand for."""
        return dequantize(self.codes, self.params)


def nearest_weight(weight: np.ndarray, operator: PlannedOperator) -> RoundedWeight:
    """The float ``weight`` (or table) of ``operator`` in the nearest integers."""
    axis = EMBEDDING_AXIS if operator.is_embedding else weight_axis(operator.kind)
    params = weight_qparams(weight, axis)
    return RoundedWeight(quantize(weight, params), params)


def short_weight(weight: np.ndarray, operator: PlannedOperator) -> np.ndarray:
    """The float ``weight`` in float32 numbers of at most 8 significant bits: the nearest multiples
    of a power of two, one for each output channel.

    A kernel multiplies by them as by any others; in the file their lower bytes, which are zero,
    take nothing.
    """
    params = nearest_weight(weight, operator).params
    step = np.exp2(np.ceil(np.log2(params.scale))).astype(np.float32)
    grid = replace(params, scale=step)
    return dequantize(quantize(weight, grid), grid)
