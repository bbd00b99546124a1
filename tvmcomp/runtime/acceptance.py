"""The last step of a build: the artifact is read back and run, as whoever gets it will do."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.artifact.reference import compare
from tvmcomp.errors import ArtifactError
from tvmcomp.runtime.example_inputs import any_inputs
from tvmcomp.runtime.session import load
from tvmcomp.targets import runs_here

_HINT = "This is a defect of tvmcomp: please report it with the model."


def accept(artifact: Artifact, inputs: Mapping[str, np.ndarray]) -> None:
    """Raise ArtifactError where what a reader of the file gets is not what was built.

    Args:
        artifact: just built.
        inputs: to run it on, where this machine can and it holds no reference inputs.
    """
    read = artifact.read_back()
    reference = read.reference
    if runs_here(read.metadata.target) is not None:
        return
    with load(read) as session:
        outputs = session.run(reference.inputs if reference is not None else inputs)
        for variant in read.metadata.variants:
            session.run(any_inputs(variant))
    if reference is None:
        return
    wrong = [a.output for a in compare(outputs, reference, read.metadata.quant) if not a.agrees]
    if wrong:
        raise ArtifactError(
            f"what was built gives other outputs at its second run: {', '.join(wrong)}",
            where=read.metadata.source,
            hint=_HINT,
        )
