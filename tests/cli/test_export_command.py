"""``tvmcomp export``: what it writes, prints and exits with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from exported import artifact_of
from networks import images, tiny

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.cli.main import cli
from tvmcomp.errors import TvmcompError


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    made = artifact_of(tiny(folder / "Tiny net.onnx"), {"x": images(1, 3, 8, 8)})
    made.save(folder / "tiny.tvmc")
    return folder / "tiny.tvmc"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["export", *map(str, arguments)])


def test_sources(path: Path, tmp_path: Path) -> None:
    result = run(path, "-o", tmp_path / "made", "--form", "source", "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    artifact = Artifact.load(path)
    assert report["name"] == "tiny_net"
    assert report["constants_bytes"] == artifact.constants_nbytes
    found = {
        str(each.relative_to(tmp_path / "made")): each.stat().st_size
        for each in (tmp_path / "made").rglob("*")
        if each.is_file()
    }
    assert report["files"] == found
    assert "tiny_net_kernels.o" in found


def test_another_name(path: Path, tmp_path: Path) -> None:
    result = run(path, "-o", tmp_path / "made", "--form", "source", "--name", "Mine")
    assert result.exit_code == 0
    assert "Mine as source" in result.stdout
    assert "Mine.h" in result.stdout
    for each in (tmp_path / "made").iterdir():
        if each.suffix in (".c", ".h", ".S"):
            assert "tiny_net" not in each.read_text()


@pytest.mark.parametrize("name", ["in t", "string"])
def test_a_name_that_is_none(path: Path, tmp_path: Path, name: str) -> None:
    result = run(path, "-o", tmp_path / "made", "--name", name)
    assert isinstance(result.exception, TvmcompError)  # main() makes it exit status 2
    assert "--name" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it(path: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    result = run(path, "-o", tmp_path, "--form", "source")
    assert isinstance(result.exception, TvmcompError)
    assert "not empty" in str(result.exception)
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("arguments", [[], ["--form", "wasm", "-o", "x"], ["--form", "static"]])
def test_a_wrong_command_line(path: Path, arguments: list[str]) -> None:
    assert run(path, *arguments).exit_code == 2


def test_an_artifact_for_a_gpu(path: Path, tmp_path: Path) -> None:
    loaded = Artifact.load(path)
    made = Artifact(loaded.metadata, b"", loaded.constants, loaded.reference)
    made.save(tmp_path / "gpu.tvmc")
    result = run(tmp_path / "gpu.tvmc", "-o", tmp_path / "made")
    assert isinstance(result.exception, TvmcompError)
    assert "no code to export" in str(result.exception)
