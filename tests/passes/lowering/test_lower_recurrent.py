"""Recurrent layers as kernels: what is read of them, and the transpose that follows."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from passes.relax_modules import operators

import tvmcomp
from benchmarks.formats.recurrent import network
from tvmcomp import targets
from tvmcomp.api import build
from tvmcomp.frontend import load_model
from tvmcomp.passes.lowering.lower_recurrent import lower_recurrent


@pytest.fixture
def path(tmp_path):
    onnx.save(network("GRU", 6, 3, 20), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def lowered(path, target="x86-64-v3"):
    return lower_recurrent(load_model(path, {}).mod, targets.load(target))


def expected(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


def given(path, x):
    with tvmcomp.load(build(path, log="none", reference=False)) as session:
        return list(session.run({"x": x}).values())


def test_the_kernel_writes_the_states_as_the_next_layer_reads_them(path):
    found = operators(lowered(path))
    assert "permute_dims" not in found
    assert "tvmcomp.recurrent" not in found
    x = np.random.default_rng(0).standard_normal((6, 3, 20)).astype("float32")
    np.testing.assert_allclose(given(path, x)[0], expected(path, x)[0], rtol=0, atol=2e-6)


def test_a_transpose_beside_another_reader_stays(path):
    model = onnx.load(path)
    model.graph.output.append(onnx.helper.make_tensor_value_info("y0", 1, None))
    onnx.save(model, path)
    assert operators(lowered(path)).count("permute_dims") == 1
    x = np.random.default_rng(0).standard_normal((6, 3, 20)).astype("float32")
    for got, want in zip(given(path, x), expected(path, x), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-6)
