"""`tvmcomp search` as a person calls it: its options, and what is refused before any work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tvmcomp.cli.search import command
from tvmcomp.errors import TvmcompError


def test_help_has_examples_and_imports_neither_tvm_nor_torch() -> None:
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from tvmcomp.cli.search import command\n"
        "print(CliRunner().invoke(command, ['--help']).output)\n"
        "assert not {'tvm', 'torch'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "tvmcomp search net.onnx" in done.stdout and "--max-memory" in done.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--max-latency", "fast"], "max_latency is 'fast'; write a figure above 0, like 8ms"),
        (["--max-latency", "0ms"], "max_latency is '0ms'; write a figure above 0"),
        (["--max-size", "-1MB"], "max_size is '-1MB'"),
        (["--budget", "2s"], "too short"),
        (["--target", "toaster"], "toaster"),
    ],
)
def test_what_makes_no_sense_is_told_at_once(tmp_path: Path, options: list[str], said: str) -> None:
    given = ["net.onnx", "--data", "x.npz", "-o", str(tmp_path / "found"), *options]
    done = CliRunner().invoke(command, given)
    assert isinstance(done.exception, TvmcompError) and said in str(done.exception)
    assert not (tmp_path / "found").exists()


def test_a_model_or_a_family() -> None:
    for given in ([], ["net.onnx", "--family", "nets"]):
        done = CliRunner().invoke(command, [*given, "--data", "x.npz", "-o", "found"])
        assert done.exit_code == 2 and "Give a MODEL, or a --family" in done.output
