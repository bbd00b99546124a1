"""The untuned network, built for the tuner to measure kernels in."""

from __future__ import annotations

from tvmcomp.artifact import Artifact
from tvmcomp.compile import generate, link
from tvmcomp.model import Model
from tvmcomp.passes.pipeline import Lowered
from tvmcomp.targets import TargetDescription
from tvmcomp.tuning.network import Network


def untuned_network(
    lowered: Lowered, model: Model, target: TargetDescription, cc: str | None = None
) -> Network:
    """Build ``lowered``, which no tuning record has scheduled.

    Args:
        lowered: the network.
        model: what it was imported as.
        target: the device.
        cc: linker command, None for the target's own.

    Raises:
        ToolError: the linker is missing or failed.
    """
    artifact = Artifact.create(
        library=link(generate(lowered, target), target, cc),
        constants={f"constant_{i}": array for i, array in enumerate(lowered.constants)},
        target=target,
        signature=model.signature,
        source=model.source,
        source_digest=model.digest,
        unaligned_inputs=lowered.unaligned_inputs,
    )
    return Network(artifact, lowered.tasks_of_kernels(), lowered.rescheduled)
