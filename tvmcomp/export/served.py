"""The program of a network for a board that has a shell: the one of ``--form program``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.export.forms import program
from tvmcomp.export.names import name_of
from tvmcomp.export.network import network_of


def link_program(artifact: Artifact, folder: Path) -> Path:
    """Link the static program of ``artifact`` into ``folder``.

    The reference inputs and outputs stay here: they are sent and compared.

    Raises:
        ArtifactError: it holds no code to export.
        ToolError: the linker is missing or fails.
    """
    network = replace(network_of(artifact, name_of(artifact.metadata.source)), reference=None)
    program(network, folder, linker=None)
    return folder / network.name
