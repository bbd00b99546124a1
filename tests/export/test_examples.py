"""The examples in C and C++ are compiled by their own Makefiles, and know their digits."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from exported import STRICT, artifact_of, run, tool
from networks import EXAMPLE, onnxruntime_outputs

import tvmcomp

COUNT = 40
PYTHON = f"PYTHON={sys.executable}"


@pytest.fixture(scope="module")
def exported_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = np.load(EXAMPLE / "test.npz")["x"][:1]
    made = tmp_path_factory.mktemp("digits") / "net"
    artifact = artifact_of(EXAMPLE / "model.onnx", {"x": images})
    tvmcomp.export(artifact, made, "static", name="digits_net")
    return made


@pytest.fixture
def folder(request: pytest.FixtureRequest, exported_network: Path, tmp_path: Path) -> Path:
    """A copy of an example as it is when the network was built and exported."""
    place = tmp_path / request.param
    shutil.copytree(EXAMPLE.parent / request.param, place)
    (tmp_path / "mnist").mkdir()
    for name in ("model.onnx", "test.npz"):
        shutil.copy(EXAMPLE / name, tmp_path / "mnist")
    (place / "digits.tvmc").touch()
    shutil.copytree(exported_network, place / "net", copy_function=shutil.copy)
    return place


def digits(images: np.ndarray) -> list[int]:
    """What ONNX Runtime takes them for."""
    model = EXAMPLE / "model.onnx"
    return [int(onnxruntime_outputs(model, {"x": x[None]})["logits"].argmax()) for x in images]


@pytest.mark.parametrize("folder", ["c"], indirect=True)
def test_c(folder: Path) -> None:
    tool("gcc")
    run([tool("make"), "CC=gcc", f"CFLAGS={' '.join(STRICT)}", "TVMCOMP=false", PYTHON], folder)
    images = np.load(EXAMPLE / "test.npz")["x"][:5]
    assert (folder / "digit.bin").read_bytes() == images[0].tobytes()
    for image, wanted in zip(images, digits(images), strict=True):
        image.tofile(folder / "digit.bin")
        assert run(["./digits", "digit.bin"], folder) == f"{wanted}\n"


@pytest.mark.parametrize("folder", ["cpp"], indirect=True)
def test_threads_in_cpp(folder: Path) -> None:
    tool("g++")
    run([tool("make"), "CXX=g++", f"CXXFLAGS={' '.join(STRICT)}", "TVMCOMP=false", PYTHON], folder)
    images = np.load(EXAMPLE / "test.npz")["x"]
    assert (folder / "images.bin").read_bytes() == images.tobytes()
    images = images[:COUNT]
    images.tofile(folder / "images.bin")
    wanted = "".join(f"{digit}\n" for digit in digits(images))
    for threads in (1, 8):
        assert run(["./digits", str(threads), "images.bin"], folder) == wanted
