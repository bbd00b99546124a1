"""Folders with any name, and a system without UTF-8."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import small_artifacts
from exported import STRICT, run, tool
from slow_variants import first_and_slow

import tvmcomp

#: What shells, compilers and make take for something else.
ODD = "a, $HOME 'b' %20 été"


@pytest.mark.parametrize("form", first_and_slow("shared", "static", "program", "source"))
def test_a_place(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linked and exported with such a folder for temporary files, to such a folder."""
    place = tmp_path / ODD
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    small_artifacts._dense_library.cache_clear()  # it is linked here and now
    small_artifacts.dense_artifact().save(place / "net.tvmc")
    tvmcomp.export(place / "net.tvmc", place / "made", form, name="net")
    inputs = {"x": np.ones((1, 8), "float32")}
    with tvmcomp.load(place / "net.tvmc") as session:
        assert set(session.run(inputs)) == {"y", "z"}
    if form == "source":
        run([tool("make"), "-s", "CC=gcc", "example"], place / "made")
        run(["./example"], place / "made")
    elif form in ("shared", "static"):
        library = "libnet.so" if form == "shared" else "libnet.a"
        libraries = [f"made/lib/{library}"]
        libraries += ["made/lib/libtvmcomp.a"] if form == "static" else []
        command = [tool("gcc"), *STRICT, "-Imade/include", "made/example.c", *libraries]
        run([*command, "-lm", "-lpthread", "-Wl,-rpath,$ORIGIN/made/lib", "-o", "example"], place)
        run(["./example"], place)
    shutil.rmtree(place / "made")
    assert {each.name for each in place.iterdir()} <= {"net.tvmc", "example"}


def test_a_system_without_utf8(tmp_path: Path) -> None:
    """What is written is in UTF-8."""
    small_artifacts.dense_artifact().save(tmp_path / "net.tvmc")
    code = f"""
import msgspec, tvmcomp
from tvmcomp.artifact.artifact import Artifact
made = Artifact.load({str(tmp_path / "net.tvmc")!r})
metadata = msgspec.structs.replace(made.metadata, source="\\u7f51.onnx")
made = msgspec.structs.replace(made, metadata=metadata)
tvmcomp.export(made, {str(tmp_path / "made")!r}, "source")
"""
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    run(["env", *(f"{key}={value}" for key, value in plain.items()), sys.executable, "-c", code])
    assert "\u7f51.onnx" in (tmp_path / "made" / "README.txt").read_text(encoding="utf-8")
