"""The wheel in an environment without TVM: what the README says is enough to run artifacts."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from small_artifacts import dense_artifact
from waiting import run

from tvmcomp.toml_settings import read_toml

ROOT = Path(__file__).parents[2]


def needed() -> list[str]:
    """What the README lists, as pyproject.toml limits it."""
    listed = re.search(r"pip install --no-deps tvmcomp\s+pip install ([a-z\- ]+)", readme())
    assert listed is not None
    names = listed[1].split()
    dependencies = read_toml(ROOT / "pyproject.toml")["project"]["dependencies"]
    found = {re.split(r"[<>=]", text)[0]: text for text in dependencies}
    return [found[name] for name in names]


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_lists_dependencies_of_ours() -> None:
    assert {re.split(r"[<>=]", text)[0] for text in needed()} == {
        "numpy", "msgspec", "ml-dtypes", "click", "rich",
    }  # fmt: skip


@pytest.mark.slow  # makes a wheel and an environment, from the network
def test_load_run_bench_and_eval(tmp_path: Path) -> None:
    path, data = tmp_path / "dense.tvmc", tmp_path / "data.npz"
    dense_artifact().save(path)
    np.savez(data, x=np.ones((3, 1, 8), "float32"), label=np.zeros(3, int))
    copy = tmp_path / "source"
    for name in ("tvmcomp", "targets", "tuning_logs", "cruntime"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run([*pip, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(copy)])
    (wheel,) = tmp_path.glob("*.whl")
    run([sys.executable, "-m", "venv", str(tmp_path / "venv")])
    own = tmp_path / "venv" / "bin"
    install = [str(own / "python"), "-m", "pip", "install", "--quiet"]
    run([*install, "--no-deps", str(wheel)])
    run([*install, *needed()])
    code = (
        "import importlib.util, tvmcomp\n"
        "assert not any(map(importlib.util.find_spec, ('tvm', 'tvm_ffi', 'onnx', 'xgboost')))\n"
        f"session = tvmcomp.load({str(path)!r})\n"
        "print(session.run(session.artifact.reference.inputs)['y'].shape)\n"
    )
    clean = {"PATH": "/usr/bin:/bin"}
    made = run([str(own / "python"), "-c", code], capture_output=True, text=True, env=clean)
    assert made.stdout.split() == ["(1,", "4)"]
    for command in (
        ["run", str(path)],
        ["bench", str(path), "--repeat", "5", "--profile"],
        ["eval", str(path), "--data", str(data), "--float", str(path)],
    ):
        run([str(own / "tvmcomp"), *command], capture_output=True, text=True, env=clean)
