"""Where artifacts only run, most packages are missing: a command that needs one says which."""

from __future__ import annotations

import sys

import pytest

from tvmcomp.cli import main as program


def test_a_command_that_needs_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tvm_ffi", None)  # an import of it fails
    monkeypatch.setitem(program.cli.commands, "build", program.click.command()(_needs_it))
    monkeypatch.setattr(program.cli, "get_command", lambda _, name: program.cli.commands[name])
    monkeypatch.setattr(sys, "argv", ["tvmcomp", "build"])
    with pytest.raises(SystemExit) as ended:
        program.main()
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert "the Python package tvm_ffi, which is not installed" in told and "pip install" in told


def _needs_it() -> None:
    import tvm_ffi.libinfo  # noqa: F401


def test_a_missing_part_of_a_package_is_a_defect(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(program.cli.commands, "build", program.click.command()(_needs_a_part))
    monkeypatch.setattr(program.cli, "get_command", lambda _, name: program.cli.commands[name])
    monkeypatch.setattr(sys, "argv", ["tvmcomp", "build"])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 1
    assert "internal error: ModuleNotFoundError" in capsys.readouterr().err


def _needs_a_part() -> None:
    import tvmcomp.no_such_part  # noqa: F401
