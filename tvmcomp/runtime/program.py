"""A compiled network that is loaded and ready: what a session asks of it, wherever it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tvmcomp.dtypes import numpy_dtype
from tvmcomp.errors import ArtifactError
from tvmcomp.model import TensorSpec
from tvmcomp.runtime.threads import Threads


class Program(Protocol):
    """A network, loaded where it runs. Its session calls it from one thread at a time.

    Attributes:
        threads: what its kernels run on.
    """

    threads: Threads

    def bind(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Check ``inputs`` and make them those of what follows.

        Raises:
            InputError: a name, shape or dtype is not what the network takes. The inputs bound
                before stay bound.
        """

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Bind ``inputs`` and run once. The outputs are the caller's: no later run changes them."""

    def time(self, runs: int) -> list[float]:
        """Seconds of each of ``runs`` runs on the bound inputs, without copying any."""

    def profile(self, runs: int) -> dict[str, list[float]]:
        """Seconds of each call of each kernel, by its name, in ``runs`` runs on the bound inputs.

        Raises:
            DeviceError: the place has no profiler.
        """

    def close(self) -> None:
        """Let go of the library, the weights and the tensors."""


def check_outputs(tensors: Sequence[Any], specs: Sequence[TensorSpec]) -> None:
    """Raise ArtifactError where a network returned other tensors than its signature lists."""
    if len(tensors) != len(specs):
        raise ArtifactError(f"returned {len(tensors)} outputs, its signature lists {len(specs)}")
    for tensor, spec in zip(tensors, specs, strict=True):
        shape = tuple(tensor.shape)
        if shape != spec.shape or numpy_dtype(str(tensor.dtype)) != numpy_dtype(spec.dtype):
            raise ArtifactError(
                f"returned {spec.name!r} as {tensor.dtype}{list(shape)}, its signature says "
                f"{spec.dtype}{list(spec.shape)}"
            )
