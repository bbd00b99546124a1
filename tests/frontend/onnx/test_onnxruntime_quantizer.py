"""Files that ONNX Runtime's own quantizer writes of a trained network give what they mean.

Every quantized tensor is judged by :mod:`quantized_meaning`: what is not the nearest step lies in
the middle of two. ONNX Runtime itself is judged as well, where it adds up exactly: without VNNI it
adds two products in 16 bits, which overflow, unless it is told to be precise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from precise_onnxruntime import precise_onnxruntime
from quantized_meaning import faults, with_all_outputs

import tvmcomp
from tvmcomp.artifact.artifact import Artifact

MNIST = Path(__file__).parents[3] / "examples" / "mnist"
IMAGES = 24
#: Of which every tensor is judged.
JUDGED = 3


class Samples(CalibrationDataReader):
    def __init__(self):
        images = np.load(MNIST / "calib.npz")["x"][:32]
        self.samples = iter([{"x": image[None]} for image in images])

    def get_next(self):
        return next(self.samples, None)


def images(count: int) -> list[dict[str, np.ndarray]]:
    return [{"x": image[None]} for image in np.load(MNIST / "test.npz")["x"][:count]]


def run(artifact: Artifact, count: int) -> list[dict[str, np.ndarray]]:
    with tvmcomp.load(artifact) as session:
        return [session.run(feeds) for feeds in images(count)]


@pytest.fixture(params=[
    (QuantFormat.QOperator, QuantType.QUInt8, True),
    (QuantFormat.QOperator, QuantType.QInt8, False),
    pytest.param((QuantFormat.QDQ, QuantType.QUInt8, True), marks=pytest.mark.slow),
    pytest.param((QuantFormat.QDQ, QuantType.QInt8, False), marks=pytest.mark.slow),
])  # fmt: skip
def quantized(request, tmp_path) -> Path:
    form, kind, per_channel = request.param
    path = tmp_path / "quantized.onnx"
    quantize_static(
        MNIST / "model.onnx", path, Samples(), quant_format=form, activation_type=kind,
        weight_type=QuantType.QInt8, per_channel=per_channel,
    )  # fmt: skip
    return path


def test_static(quantized, tmp_path):
    model = onnx.load(quantized)
    judged = with_all_outputs(model)
    onnx.save(judged, tmp_path / "judged.onnx")
    artifact = tvmcomp.build(tmp_path / "judged.onnx", log="none", reference=False)
    # ONNX Runtime's QOperator has no HardSwish, which stays between Q and DQ.
    types = [operator.dtype for operator in artifact.metadata.operators]
    assert types.count("int8") > 2 * types.count("float32")
    ours = run(artifact, IMAGES)
    for feeds, given in zip(images(JUDGED), ours, strict=False):
        assert not faults(judged, feeds, given)
    try:
        reference = precise_onnxruntime(tmp_path / "judged.onnx")
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
        # It makes the weights unsigned, and has no QGemm of those and signed data.
        reference = None
    for feeds, given in zip(images(IMAGES), ours, strict=True) if reference else ():
        theirs = dict(zip(given, reference.run(list(given), feeds), strict=True))
        assert not faults(judged, feeds, theirs)
        last = model.graph.output[0].name
        assert given[last].argmax() == theirs[last].argmax()


@pytest.mark.slow
def test_tensors_that_are_not_given_change_nothing(quantized, tmp_path):
    model = onnx.load(quantized)
    onnx.save(with_all_outputs(model), tmp_path / "judged.onnx")
    paths = (quantized, tmp_path / "judged.onnx")
    plain, judged = (
        run(tvmcomp.build(path, log="none", reference=False), IMAGES) for path in paths
    )
    for one, other in zip(plain, judged, strict=True):
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name])


@pytest.mark.parametrize(
    "kind", [QuantType.QUInt8, pytest.param(QuantType.QInt8, marks=pytest.mark.slow)]
)
def test_dynamic(tmp_path, kind):
    path = tmp_path / "quantized.onnx"
    quantize_dynamic(MNIST / "model.onnx", path, weight_type=kind)
    artifact = tvmcomp.build(path, log="none", reference=False)
    assert "int8" in [operator.dtype for operator in artifact.metadata.operators]
    reference = precise_onnxruntime(path)
    ours = np.stack([next(iter(given.values())) for given in run(artifact, IMAGES)])
    theirs = np.stack([reference.run(None, feeds)[0] for feeds in images(IMAGES)])
    # A scale of run time may round another way at a tie, and all that follows with it.
    assert np.abs(ours - theirs).max() <= 0.005 * np.ptp(theirs)
    assert (ours.argmax(-1) == theirs.argmax(-1)).all()
