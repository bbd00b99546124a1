"""Find the float network that an artifact is to be judged beside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.errors import InputError
from tvmcomp.frontend.source import digest_of


def find_float_network(
    artifact: Artifact,
    path: Path | None,
    fixed: Mapping[str, Any] | None = None,
    signature: str | None = None,
) -> tuple[Artifact | None, str]:
    """The float network of ``artifact``, compiled for the same target.

    Args:
        artifact: the quantized one.
        path: an artifact, a model file to build, or None for the model that the artifact's
            metadata names, if it still is where it was and has not changed.
        fixed, signature: what a model file is built with, as of :func:`tvmcomp.build`.

    Returns:
        The float artifact, or None and a sentence that says why there is none.

    Raises:
        InputError: the float network has another signature.
        ModelError, ArtifactError: it can't be built or loaded.
    """
    metadata = artifact.metadata
    if path is None:
        if metadata.quant == "none":
            return None, "This artifact is the float network itself."
        path = Path(metadata.source)
        if not path.exists():
            return None, f"No float network to compare with: {path} is not there; see --float."
        if digest_of(path) != metadata.source_digest:
            return None, f"No float network to compare with: {path} has changed; see --float."
    if path.suffix == ".tvmc":
        found = Artifact.load(path)
    else:
        found = _build(path, artifact, fixed, signature)
    if found.metadata.signature != metadata.signature:
        raise InputError(
            "the float network has other inputs or outputs than the artifact",
            where=str(path),
            hint="Give the --fix and --signature that the artifact was built with.",
        )
    return found, ""


def _build(
    path: Path, artifact: Artifact, fixed: Mapping[str, Any] | None, signature: str | None
) -> Artifact:
    import tvmcomp

    shapes = {spec.name: spec.shape for spec in artifact.metadata.signature.inputs}
    built: Artifact = tvmcomp.build(  # type: ignore[attr-defined,unused-ignore]
        str(path),
        target=artifact.metadata.target,
        shapes=shapes,
        fixed=fixed,
        signature=signature,
    )
    return built
