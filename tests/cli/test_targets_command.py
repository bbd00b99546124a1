"""``tvmcomp targets``."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from tvmcomp import targets
from tvmcomp.cli.main import cli


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["targets", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_list_names_every_target() -> None:
    table = run("list")
    document = json.loads(run("list", "--json"))
    assert document["detected"] == ["native", "cuda"]
    listed = [target["name"] for target in document["targets"]]
    assert listed == sorted(targets.shipped())
    for name in (*document["detected"], *listed):
        assert name in table


def test_show_prints_a_file_that_reads_back(tmp_path: Path) -> None:
    for name in ("rpi5", "h100"):
        path = tmp_path / "copy.toml"
        path.write_text(run("show", name))
        assert targets.load(path) == targets.load(name)


def test_show_json() -> None:
    document = json.loads(run("show", "rpi5", "--json"))
    assert document["dot_product"] == "sdot"


def test_detect_describes_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "here.toml"
    path.write_text(run("detect"))
    assert targets.load(path) == targets.detect()
    assert json.loads(run("detect", "--json"))["name"] == "native"
