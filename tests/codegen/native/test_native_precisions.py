"""Whole small networks in every number format: native code gives the virtual machine's bits."""

from __future__ import annotations

import numpy as np
import pytest
from native_runs import HERE, run
from networks import classifier, mobile, onnxruntime_outputs, share_of_range, speech

from tvmcomp.frontend import load_model
from tvmcomp.progress import NoProgress
from tvmcomp.quantize import QuantConfig
from tvmcomp.quantize.data import load_samples
from tvmcomp.quantize.precision import choose_precision

NETWORKS = {"classifier": classifier, "mobile": mobile, "speech": speech}
#: How far each number format may be from ONNX Runtime's float32, as a share of the outputs' range.
FORMATS = {None: 1e-5, "bf16": 0.02, "fp16": 0.005, "int8": 0.2, "dynamic": 0.2}


@pytest.mark.parametrize(
    ("name", "quant"),
    [*(("classifier", quant) for quant in FORMATS), ("mobile", "int8"), ("speech", None)],
    ids=str,
)
def test_bits_are_the_machines_and_numbers_onnxruntimes(name, quant, tmp_path):
    if quant == "bf16" and not HERE.bfloat16:
        pytest.skip("this machine has no bfloat16 arithmetic")
    path = NETWORKS[name](tmp_path / "m.onnx")
    model = load_model(path, for_quantization=quant is not None)
    random = np.random.default_rng(0)
    data = [
        {s.name: random.random(s.shape).astype(s.dtype) for s in model.signature.inputs}
        for _ in range(4)
    ]
    settings = QuantConfig()
    samples = load_samples(data, model.signature, None, 4) if quant == "int8" else None
    choice = choose_precision(model, HERE, HERE, quant, samples, settings, NoProgress(), None)
    inputs = [data[0][spec.name] for spec in model.signature.inputs]
    outputs = run(choice.mod, *inputs, half=choice.half)
    wanted = onnxruntime_outputs(path, data[0])
    for spec, got in zip(model.signature.outputs, outputs, strict=True):
        assert share_of_range(got, wanted[spec.name]) < FORMATS[quant]
