"""Files that ONNX Runtime's own quantizer writes of a trained network give what ONNX Runtime gives.

A quotient in the middle of two steps may be rounded to the other one, in one of the layers; what
follows from it is at most two steps of the result.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

import tvmcomp

MNIST = Path(__file__).parents[3] / "examples" / "mnist"
IMAGES = 24


class Samples(CalibrationDataReader):
    def __init__(self):
        images = np.load(MNIST / "calib.npz")["x"][:32]
        self.samples = iter([{"x": image[None]} for image in images])

    def get_next(self):
        return next(self.samples, None)


def results(path: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Ours, ONNX Runtime's, and the types that the operators run in."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    reference = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    images = np.load(MNIST / "test.npz")["x"][:IMAGES]
    artifact = tvmcomp.build(path, log="none", reference=False)
    with tvmcomp.load(artifact) as session:
        ours = [next(iter(session.run({"x": image[None]}).values())) for image in images]
    theirs = [reference.run(None, {"x": image[None]})[0] for image in images]
    return np.stack(ours), np.stack(theirs), [op.dtype for op in artifact.metadata.operators]


@pytest.mark.parametrize(
    "form, kind, per_channel",
    [
        (QuantFormat.QOperator, QuantType.QUInt8, True),
        (QuantFormat.QOperator, QuantType.QInt8, False),
        pytest.param(QuantFormat.QDQ, QuantType.QUInt8, True, marks=pytest.mark.slow),
        pytest.param(QuantFormat.QDQ, QuantType.QInt8, False, marks=pytest.mark.slow),
    ],
)
def test_static(tmp_path, form, kind, per_channel):
    path = tmp_path / "quantized.onnx"
    quantize_static(
        MNIST / "model.onnx", path, Samples(), quant_format=form, activation_type=kind,
        weight_type=QuantType.QInt8, per_channel=per_channel,
    )  # fmt: skip
    ours, theirs, types = results(path)
    # ONNX Runtime's QOperator has no HardSwish, which stays between Q and DQ.
    assert types.count("int8") > 2 * types.count("float32")
    step = np.diff(np.unique(theirs)).min()
    steps = np.abs(np.rint((ours - theirs) / step))
    assert (steps == 0).mean() >= 0.95
    assert steps.max() <= 2
    assert (ours.argmax(-1) == theirs.argmax(-1)).all()


@pytest.mark.parametrize(
    "kind", [QuantType.QUInt8, pytest.param(QuantType.QInt8, marks=pytest.mark.slow)]
)
def test_dynamic(tmp_path, kind):
    path = tmp_path / "quantized.onnx"
    quantize_dynamic(MNIST / "model.onnx", path, weight_type=kind)
    ours, theirs, types = results(path)
    assert "int8" in types
    assert np.abs(ours - theirs).max() <= 0.005 * np.ptp(theirs)
    assert (ours.argmax(-1) == theirs.argmax(-1)).all()
