"""Exported programs whose weights are coded: smaller, and the same outputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from exported import STRICT, run, tool
from test_export_forms import AGREES

import tvmcomp
from tvmcomp.artifact.artifact import Artifact


def test_a_program_decodes_its_weights(artifact: Artifact, tmp_path: Path) -> None:
    small = artifact.small()
    for name, made in (("plain", artifact), ("small", small)):
        tvmcomp.export(made, tmp_path / name, "program", name="net")
    plain, coded = (tmp_path / name / "net" for name in ("plain", "small"))
    assert AGREES.fullmatch(run([coded, "--selftest", "--threads", "2"]))
    saved = artifact.constants_nbytes - small.constants_nbytes_in_file
    assert abs(saved - (plain.stat().st_size - coded.stat().st_size)) < 8192
    info = json.loads(run([coded, "--info"]))
    assert info["constants_bytes"] == small.constants_nbytes
    image = np.random.default_rng(3).normal(size=(1, 3, 32, 32)).astype(np.float32)
    image.tofile(tmp_path / "image")
    results = []
    for program in (plain, coded):
        outputs = [tmp_path / f"{program.parent.name}-{i}" for i in range(2)]
        run([program, tmp_path / "image", *outputs])
        results.append([path.read_bytes() for path in outputs])
    assert results[0] == results[1]


@pytest.mark.slow
@pytest.mark.ci
def test_sources_with_and_without_threads(artifact: Artifact, tmp_path: Path) -> None:
    tool("gcc")
    folder = tmp_path / "source"
    tvmcomp.export(artifact.small(), folder, "source", name="net")
    assert "decoded with the first" in (folder / "README.txt").read_text()
    assert "decoded with the first" in (folder / "net.h").read_text()
    for flags in ("", "-DTVMCOMP_WITHOUT_THREADS "):
        command = [tool("make"), "CC=gcc", f"CFLAGS=-O1 {flags}{' '.join(STRICT)}", "check"]
        assert AGREES.search(run(command, folder))
        run(["make", "clean"], folder)
