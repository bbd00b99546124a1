"""Two different networks in one program, from archives and from shared libraries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from exported import STRICT, artifact_of, run, tool
from networks import images, onnxruntime_outputs, share_of_range, speech

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


@pytest.mark.parametrize("form", ["static", "shared"])
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
