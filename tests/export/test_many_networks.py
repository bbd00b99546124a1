"""Two different networks in one program, from archives and from shared libraries."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from exported import STRICT, artifact_of, run, tool
from networks import images, onnxruntime_outputs, share_of_range, speech
from slow_variants import first_and_slow

import tvmcomp
from tvmcomp.artifact.artifact import Artifact

#: Both run in turns, then at once in two threads; prints the last results as bytes.
SOURCE = """\
#include "first.h"
#include "second.h"

#include <pthread.h>
#include <stdio.h>

static float scores[FIRST_OUTPUT0_ELEMENTS], heat[FIRST_OUTPUT1_ELEMENTS];
static float in1[FIRST_INPUT0_ELEMENTS], in2[SECOND_INPUT0_ELEMENTS], y[SECOND_OUTPUT0_ELEMENTS];
static tvmcomp_context *first, *second;

static void *run_first(void *failed) {
  const void *inputs[] = {in1};
  void *outputs[] = {scores, heat};
  for (int i = 0; i < 50; i++)
    if (first_run(first, inputs, outputs)) *(int *)failed = 1;
  return NULL;
}

static void *run_second(void *failed) {
  const void *inputs[] = {in2};
  void *outputs[] = {y};
  for (int i = 0; i < 50; i++)
    if (second_run(second, inputs, outputs)) *(int *)failed = 1;
  return NULL;
}

int main(void) {
  tvmcomp_options options = {0};
  int failed = 0, failed_there = 0;
  pthread_t thread;
  if (fread(in1, sizeof in1, 1, stdin) != 1 || fread(in2, sizeof in2, 1, stdin) != 1) return 1;
  options.threads = 2;
  if (first_create(&options, &first) || second_create(&options, &second)) return 2;
  run_first(&failed);
  run_second(&failed);
  pthread_create(&thread, NULL, run_first, &failed_there);
  run_second(&failed);
  pthread_join(thread, NULL);
  first_destroy(first);
  second_destroy(second);
  fwrite(scores, sizeof scores, 1, stdout);
  fwrite(heat, sizeof heat, 1, stdout);
  fwrite(y, sizeof y, 1, stdout);
  return failed || failed_there;
}
"""


@pytest.mark.parametrize("form", first_and_slow("shared", "static"))
def test_two_networks(form: str, artifact: Artifact, model: Path, tmp_path: Path) -> None:
    image, x = images(1, 3, 32, 32, seed=3), images(1, 16, 64, 4, seed=4)[:, :, :, 0].copy()
    other = artifact_of(speech(tmp_path / "speech.onnx"), {"x": x})
    places = {"first": tmp_path / "first", "second": tmp_path / "second"}
    for (name, place), made in zip(places.items(), (artifact, other), strict=True):
        tvmcomp.export(made, place, form, name=name)
    (tmp_path / "two.c").write_text(SOURCE)
    command = [tool("gcc"), *STRICT, *(f"-I{place}/include" for place in places.values())]
    suffix = "a" if form == "static" else "so"
    libraries = [f"{place}/lib/lib{name}.{suffix}" for name, place in places.items()]
    if form == "static":
        libraries.append(f"{places['second']}/lib/libtvmcomp.a")
    paths = [f"-Wl,-rpath,{place}/lib" for place in places.values()]
    run(
        [*command, tmp_path / "two.c", *libraries, *paths, "-lm", "-lpthread", "-o", tmp_path / "t"]
    )
    (tmp_path / "in.bin").write_bytes(image.tobytes() + x.tobytes())
    run(["sh", "-c", "./t <in.bin >out.bin"], tmp_path)
    found = np.fromfile(tmp_path / "out.bin", "float32")
    wanted = onnxruntime_outputs(model, {"image": image})
    wanted |= onnxruntime_outputs(tmp_path / "speech.onnx", {"x": x})
    for name in ("scores", "heat", "y"):
        given, found = found[: wanted[name].size], found[wanted[name].size :]
        assert share_of_range(given.reshape(wanted[name].shape), wanted[name]) < 1e-5
    assert found.size == 0


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("form", ["static", "source", "cmake"])
def test_the_runtime_inside_a_shared_library_is_its_own(
    form: str, exported: Callable[[str], Path], tmp_path: Path
) -> None:
    """A user's shared library of the archives shows the network, and no function of the runtime."""
    tool("gcc")
    folder = shutil.copytree(
        exported("static" if form == "static" else "source"), tmp_path / "copy"
    )
    if form == "cmake":
        folder = tmp_path / "build"
        run([tool("cmake"), "-S", tmp_path / "copy", "-B", folder])
        run(["cmake", "--build", folder, "--target", "mobile_net"])
        libraries = [folder / "libmobile_net.a", folder / "libtvmcomp_runtime.a"]
    else:
        if form == "source":
            run([tool("make"), "CC=gcc"], folder)
        place = folder / "lib" if form == "static" else folder
        libraries = [place / "libmobile_net.a", place / "libtvmcomp.a"]
    whole = ["-Wl,--whole-archive", *libraries, "-Wl,--no-whole-archive", "-Wl,-z,defs"]
    run(["gcc", "-shared", *whole, "-lm", "-lpthread", "-o", tmp_path / "users.so"])
    elf = ELFFile.load_from_path(tmp_path / "users.so")
    shown = {
        each.name
        for each in elf.get_section_by_name(".dynsym").iter_symbols()
        if each["st_shndx"] != "SHN_UNDEF" and each["st_info"]["type"] == "STT_FUNC"
    }
    assert "mobile_net_run" in shown
    assert not {name for name in shown if name.startswith("tvmcomp")}
