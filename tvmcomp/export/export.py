"""``tvmcomp.export``: an artifact as a folder for programs in C."""

from __future__ import annotations

import os
from pathlib import Path

from tvmcomp import arguments
from tvmcomp.artifact.artifact import Artifact
from tvmcomp.errors import ConfigError
from tvmcomp.export.folder import new_folder
from tvmcomp.export.forms import FORMS, Form
from tvmcomp.export.names import checked, name_of
from tvmcomp.export.network import Network, network_of
from tvmcomp.export.readme import readme


def export(
    artifact: Artifact | str | bytes | os.PathLike[str],
    folder: str | bytes | os.PathLike[str],
    form: Form = "static",
    *,
    name: str | None = None,
    linker: str | None = None,
) -> Network:
    """Write a network that runs without Python and TVM: a library, a program, or sources of C.

    Args:
        artifact: what was built for a CPU, or its path.
        folder: a new or an empty one.
        form: ``static`` (archives), ``shared`` (one library), ``program`` (one static program that
            checks, times and runs the network) or ``source``.
        name: what its functions begin with, an identifier of C; None makes one of the model's file
            name.
        linker: a C compiler's command line to compile and link with, in place of the built-in one.

    Returns:
        What was written, under its name.

    Raises:
        ConfigError: the name or the form is none, or the folder can't be written.
        ArtifactError: the artifact can't be read, or holds no code to export.
        ToolError: the compiler is missing or fails.
    """
    if form not in FORMS:
        raise ConfigError(f"there is no form {form!r}", hint=f"The forms are {', '.join(FORMS)}.")
    place = arguments.path(folder, "the folder's path")
    loaded = artifact if isinstance(artifact, Artifact) else Artifact.load(artifact)
    own = name_of(loaded.metadata.source) if name is None else checked(name)
    network = network_of(loaded, own)
    write(network, place, form, linker)
    return network


def write(network: Network, folder: Path, form: Form, linker: str | None = None) -> None:
    """Write ``network`` to a new or an empty folder.

    Raises:
        ConfigError: the folder can't be written.
        ToolError: the compiler is missing or fails.
    """
    with new_folder(folder) as temporary:
        FORMS[form](network, temporary, linker)
        (temporary / "README.txt").write_text(readme(network, form), encoding="utf-8")
