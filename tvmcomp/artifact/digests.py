"""Digests of an artifact's members: the metadata lists them, and a reader finds them right."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from tvmcomp.artifact.metadata import Metadata
from tvmcomp.errors import ArtifactError


def digests_of(members: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 of each, in hexadecimal."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}


def check_digests(metadata: Metadata, members: Mapping[str, np.ndarray], where: str) -> None:
    """Compare members (bytes) with what their metadata says.

    Raises:
        ArtifactError: one is missing, not listed, or another.
    """
    held = set(members) - {"metadata.json"}
    if held != set(metadata.digests):
        raise ArtifactError(
            f"holds {sorted(held)}, but its metadata lists {sorted(metadata.digests)}", where=where
        )
    # The weights are nearly all of the file, whose own digest has just been found right.
    for name in sorted(held - {"constants.bin"}):
        if hashlib.sha256(members[name].data).hexdigest() != metadata.digests[name]:
            raise ArtifactError(f"{name} is not the one that its metadata describes", where=where)
