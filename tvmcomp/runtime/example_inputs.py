"""Inputs to measure an artifact with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.dtypes import numpy_dtype
from tvmcomp.model import Signature


def example_inputs(
    artifact: Artifact, signature: Signature | None = None
) -> Mapping[str, np.ndarray]:
    """The reference inputs, or :func:`any_inputs` where there are none for the shape.

    Args:
        artifact: the network.
        signature: for which of its shapes; None is the first.
    """
    first, reference = artifact.metadata.signature, artifact.reference
    wanted = signature or first
    return reference.inputs if reference and wanted == first else any_inputs(wanted)


def any_inputs(signature: Signature) -> dict[str, np.ndarray]:
    """Inputs to time with: normal for floats, zeros for the rest, which may be indices."""
    random = np.random.default_rng(0)
    arrays = {}
    for spec in signature.inputs:
        dtype = numpy_dtype(spec.dtype)
        if "float" in spec.dtype:
            arrays[spec.name] = np.asarray(random.standard_normal(spec.shape)).astype(dtype)
        else:
            arrays[spec.name] = np.zeros(spec.shape, dtype)
    return arrays
