"""One small network of two outputs, and folders of it in each form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from exported import artifact_of
from networks import images, mobile

import tvmcomp
from tvmcomp.artifact.artifact import Artifact


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """image (1, 3, 32, 32) -> scores (1, 10), heat (1, 4, 16, 16)."""
    return mobile(tmp_path_factory.mktemp("export-model") / "Mobile-net.v1.onnx")


@pytest.fixture(scope="session")
def artifact(model: Path) -> Artifact:
    """The network for this machine."""
    return artifact_of(model, {"image": images(1, 3, 32, 32)})


@pytest.fixture(scope="session")
def exported(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a form, made at the first call; don't write to it."""
    made: dict[str, Path] = {}

    def folder(form: str) -> Path:
        if form not in made:
            made[form] = tmp_path_factory.mktemp("exported") / form
            tvmcomp.export(artifact, made[form], form)
        return made[form]

    return folder
