"""`tvmcomp compress` as a person calls it: its options, its report, its exit status."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import click
import coarse_weights
import numpy as np
import pytest
from click.testing import CliRunner
from needed import package
from networks import classifier, images

package("torch", "compress")

import tvmcomp.cli.compress  # noqa: E402
from tvmcomp.errors import ConfigError  # noqa: E402


@pytest.fixture
def command() -> Any:
    """The command, with the options of the tests' technique among its own."""
    coarse_weights.register()
    yield importlib.reload(tvmcomp.cli.compress).command
    coarse_weights.unregister()
    importlib.reload(tvmcomp.cli.compress)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    classifier(tmp_path / "net.onnx", softmax=True)
    np.savez(tmp_path / "samples.npz", x=images(60, 3, 16, 16))
    return tmp_path


def run(command: click.Command, folder: Path, *options: object) -> Any:
    arguments = [folder / "net.onnx", "--data", folder / "samples.npz", "--no-measure", *options]
    return CliRunner(env={"COLUMNS": "200"}).invoke(command, [*map(str, arguments)])


def test_the_options_of_techniques_are_the_commands(command):
    options = {name: each for each in command.params for name in each.opts}
    assert options["--mantissa"].type.min == 0 and options["--mantissa"].type.max == 23
    assert options["--mantissa"].help == "Bits to keep."
    assert options["--coarse"].is_flag and options["--coarse"].help == "Round the weights."


def test_the_table_says_what_was_gained(command, folder):
    done = run(command, folder, "-o", folder / "small.onnx", "--mantissa", 8)
    assert done.exit_code == 0, done.output
    assert (folder / "small.onnx").is_file()
    for text in ("agreement of y", "95% confidence", "ONNX file", "parameters", "coarse", "MAC"):
        assert text.lower() in done.output.lower().replace("multiply-accumulates", "mac"), text
    assert "note: coarse: rounded all" in done.output
    assert f"wrote {folder / 'small.onnx'}" in done.output.replace("\n", "")


def test_json_is_the_whole_proof(command, folder):
    done = run(command, folder, "-o", folder / "small.onnx", "--mantissa", 8, "--json")
    proof = json.loads(done.stdout)
    assert proof["accepted"] and proof["output"] == str(folder / "small.onnx")
    assert proof["score"]["drop_low"] <= proof["score"]["drop"] <= proof["score"]["drop_high"]
    assert proof["steps"][0]["options"] == {"mantissa": 8} and proof["steps"][0]["seconds"] >= 0
    assert sum(proof["samples"].values()) == 60


def test_what_lost_too_much_is_not_written_and_the_status_is_1(command, folder):
    options = ("--mantissa", 0, "--metric", "sqnr", "--max-drop", 0.1)
    done = run(command, folder, "-o", folder / "small.onnx", *options)
    assert done.exit_code == 1 and not (folder / "small.onnx").exists()
    assert "the original is kept" in done.output and "0.1 allowed" in done.output


def test_without_a_technique_it_says_what_it_would_try(command, folder):
    before = sorted(folder.iterdir())
    done = run(command, folder)
    assert done.exit_code == 0 and "--coarse: rounds the weights" in done.output
    assert sorted(folder.iterdir()) == before
    document = json.loads(run(command, folder, "--json").stdout)
    assert {"options": "--coarse", "why": "rounds the weights"} in document["suggestions"]


def test_a_recipe_is_read(command, folder):
    (folder / "r.toml").write_text('[[technique]]\nname = "coarse"\nmantissa = 9\n')
    done = run(command, folder, "-o", folder / "s.onnx", "--recipe", folder / "r.toml", "--json")
    assert json.loads(done.stdout)["steps"][0]["options"] == {"mantissa": 9}
    done = run(command, folder, "-o", folder / "s.onnx", "--recipe", folder / "absent.toml")
    assert isinstance(done.exception, ConfigError)


def test_command_lines_that_make_no_sense(command, folder):
    assert "-o" in run(command, folder, "--coarse").output
    for options in (
        ("--mantissa", 99),
        ("--budget", "soon"),
        ("--max-drop", -1),
        ("--metric", "f"),
    ):
        done = run(command, folder, "-o", folder / "s.onnx", "--coarse", *options)
        assert done.exit_code == 2 and str(options[0]) in done.output


def test_ctrl_c_says_how_to_go_on(command, folder, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tvmcomp.compress.steps.Steps.run", interrupted)
    done = run(command, folder, "-o", folder / "s.onnx", "--coarse")
    assert done.exit_code == 1 and "the same command goes on" in done.output


@pytest.mark.parametrize("as_json", [True, False])
def test_a_look_at_what_could_be_lost(as_json, command, folder):
    options = ["--target", "rpi4", *(["--json"] if as_json else [])]
    done = run(command, folder, *options)
    assert done.exit_code == 0, done.output
    if not as_json:
        assert "32" in done.output and "saves: of the time on the target" in done.output
        return
    rows = json.loads(done.output)["sensitivities"]
    rows = [row for row in rows if row["kind"] == "channels"]
    assert [(row["count"], row["left"]) for row in rows] == [(16, 12), (16, 8), (32, 24), (32, 16)]
    assert all(0 < row["saved"] < 1 and row["harm"] > 0 for row in rows)
    assert rows[0]["harm"] < rows[1]["harm"] and rows[0]["saved"] < rows[1]["saved"]
