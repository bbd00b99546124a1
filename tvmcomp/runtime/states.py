"""What the inputs of a network hold that keep their value from run to run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tvmcomp.dtypes import numpy_dtype
from tvmcomp.model import Signature, State


def first_values(states: Sequence[State], signature: Signature) -> dict[str, np.ndarray]:
    """What each state starts with, by its input's name; the arrays are the caller's."""
    specs = {spec.name: spec for spec in signature.inputs}
    return {
        state.input: np.frombuffer(state.start, numpy_dtype(specs[state.input].dtype))
        .reshape(specs[state.input].shape)
        .copy()
        for state in states
    }
