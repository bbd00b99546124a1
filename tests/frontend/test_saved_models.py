"""SavedModels: their signatures, what they compute, and what they may not do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from needed import missing

import tvmcomp
from tvmcomp.cli.main import cli
from tvmcomp.errors import ModelError
from tvmcomp.frontend.keras import saved_model

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    done = subprocess.run(
        [sys.executable, HERE / "saved_models.py", folder],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    if "No module named" in done.stderr:
        missing("TensorFlow is not installed; it comes with tvmcomp[tensorflow]")
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def agrees(path: Path, inputs: dict[str, np.ndarray], expected: np.ndarray, **options) -> None:
    shapes = {name: value.shape for name, value in inputs.items()}
    art = tvmcomp.build(path, shapes=shapes, reference=False, **options)
    with tvmcomp.load(art) as session:
        (got,) = session.run(inputs).values()
    assert np.abs(got - expected).max() <= 1e-5


def test_several_signatures_ask_which(models: Path) -> None:
    path = models / "several"
    with pytest.raises(ModelError, match="has 5 signatures: decode, encode") as caught:
        tvmcomp.build(path)
    assert "--signature" in caught.value.hint
    with pytest.raises(ModelError, match="no signature 'none'"):
        tvmcomp.build(path, signature="none")
    with np.load(models / "several.npz") as data:
        agrees(path, {"x": data["x"]}, data["code"], signature="encode")
        agrees(path, {"code": data["code"]}, data["back"], signature="decode")


def test_the_command_line_takes_a_folder_and_a_signature(models: Path, tmp_path: Path) -> None:
    output = tmp_path / "m.onnx"
    arguments = [str(models / "several"), "--signature", "decode", "-o", str(output)]
    assert CliRunner().invoke(cli, ["convert", *arguments]).exit_code == 0
    assert output.exists()


def test_a_model_that_keras_exported(models: Path) -> None:
    with np.load(models / "keras.npz") as data:
        agrees(models / "keras", {"sound": data["sound"]}, data["output"])
    made = tvmcomp.convert(models / "keras")
    assert "LSTM" in {node.op_type for node in made.graph.node}


@pytest.mark.parametrize("signature", ["read", "python"])
def test_more_than_a_computation_is_refused(models: Path, signature: str) -> None:
    with pytest.raises(ModelError, match=r"of the operator (ReadFile|PyFunc)"):
        tvmcomp.build(models / "several", signature=signature)


def test_nothing_is_run_when_it_is_loaded(models: Path) -> None:
    with pytest.raises(ModelError, match="of the operator WriteFile"):
        tvmcomp.build(models / "at_load")
    assert not Path("fired").exists()


def test_damaged_folders_are_one_error(models: Path, tmp_path: Path) -> None:
    for name, text in (("saved_model.pb", "can't be read"), ("variables", "turned into ONNX")):
        path = shutil.copytree(models / "several", tmp_path / name)
        if (path / name).is_file():
            (path / name).write_bytes(b"\xff" * 100)
        else:
            shutil.rmtree(path / name)
        with pytest.raises(ModelError, match=text) as caught:
            tvmcomp.build(path, signature="encode")
        assert str(path) in str(caught.value)
    (path / "link").symlink_to("/etc")
    with pytest.raises(ModelError, match="link out of the folder"):
        saved_model.convert(path, tmp_path)
    (path / "link").unlink()
    (path / "link").symlink_to("link")
    with pytest.raises(ModelError, match="link that leads nowhere"):
        saved_model.convert(path, tmp_path)
