"""What is exported: a network's code, weights and reference, under the name that it has in C."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.artifact.reference import TOLERANCE, Reference
from tvmcomp.errors import ArtifactError
from tvmcomp.export.code import renamed, workspace_of
from tvmcomp.model import Signature, State
from tvmcomp.targets.description import TargetDescription


@dataclass(frozen=True)
class Network:
    """A network to export.

    Attributes:
        name: an identifier of C; what other files see begins with it.
        target: the device that its code is for.
        signature: inputs and outputs; for the first shape.
        variants: those for its other shapes.
        states: inputs that keep their value from run to run.
        kernels: machine code, an object file.
        driver: C source.
        constants: the weights, in the driver's order; None: it is coded.
        coded: those, as the runtime decodes them; empty where none is.
        constants_nbytes: what all of them take in memory.
        reference: inputs and what they must give, or None.
        tolerance: how far from it an output may be, as a share of its range.
        workspace: bytes that a context takes beside them.
        source: the model's file, for a person.
    """

    name: str
    target: TargetDescription
    signature: Signature
    variants: Sequence[Signature]
    states: Sequence[State]
    kernels: bytes
    driver: str
    constants: Sequence[np.ndarray | None]
    coded: np.ndarray
    constants_nbytes: int
    reference: Reference | None
    tolerance: float
    workspace: int
    source: str

    @property
    def constants_nbytes_in_file(self) -> int:
        """What the weights take in the program."""
        plain = sum(array.nbytes for array in self.constants if array is not None)
        return plain + self.coded.nbytes

    def reference_arrays(self, kind: str) -> list[np.ndarray]:
        """The reference's ``inputs`` or ``outputs``, in the order of the signature."""
        if self.reference is None:
            return []
        arrays: Mapping[str, np.ndarray] = getattr(self.reference, kind)
        return [arrays[spec.name] for spec in getattr(self.signature, kind)]


def network_of(artifact: Artifact, name: str) -> Network:
    """What ``artifact`` holds, under ``name``.

    Raises:
        ArtifactError: it holds no code to export: it is for a GPU.
    """
    metadata, code = artifact.metadata, artifact.code
    if code is None:
        raise ArtifactError(
            f"holds no code to export: it was built for {metadata.target.name}",
            where=metadata.source,
            hint="Networks for CPUs can be exported.",
        )
    kernels, driver = renamed(code.kernels, code.driver, name)
    return Network(
        name=name,
        target=metadata.target,
        signature=metadata.signature,
        variants=metadata.variants,
        states=metadata.states,
        kernels=kernels,
        driver=driver,
        constants=artifact.constants,
        coded=artifact.coded,
        constants_nbytes=artifact.constants_nbytes,
        reference=artifact.reference,
        tolerance=TOLERANCE[metadata.quant],
        workspace=workspace_of(driver),
        source=Path(metadata.source).name,
    )
