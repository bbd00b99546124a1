"""Processes of our own, from a folder whose files have the names of Python's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tvmcomp import own_process, targets
from tvmcomp.codegen.toolchain import c_compiler

#: What interpreters and packages import early.
NAMES = ("signal", "random", "types", "json", "runpy", "subprocess", "numpy", "ziglang", "tvmcomp")


@pytest.fixture
def shadowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of the working directory')")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("shadowed")
def test_commands() -> None:
    document, complaint = own_process.run_tvmcomp("targets", "list")
    assert complaint is None
    assert "native" in json.dumps(document)


def test_the_linker(shadowed: Path) -> None:
    compiler = c_compiler(targets.load("native"))
    compiler.run("linking", shadowed / "version", ["-###", "-c", "-x", "c", "/dev/null"])
