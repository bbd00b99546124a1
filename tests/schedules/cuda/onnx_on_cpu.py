"""ONNX networks built for a GPU and run on the CPU, beside ONNX Runtime and the x86 build."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from network_on_cpu import run_network

from tvmcomp import targets
from tvmcomp.arguments import Quant
from tvmcomp.codegen.compile import run_here
from tvmcomp.frontend import load_model
from tvmcomp.passes.pipeline import lower
from tvmcomp.progress import NoProgress
from tvmcomp.quantize import QuantConfig
from tvmcomp.quantize.data import load_samples
from tvmcomp.quantize.precision import choose_precision


def run_onnx(
    model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], quant: Quant | None, target: str
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The outputs of the build for the GPU ``target``, and those that it should have: of
    ONNX Runtime, or in ``int8`` of the x86 build."""
    description, here = targets.load(target), targets.detect()
    network = load_model(model, for_quantization=quant is not None)
    samples = None
    if quant == "int8":
        samples = load_samples([dict(inputs)], network.signature)
    choice = choose_precision(
        network, description, here, quant, samples, QuantConfig(), NoProgress(), None
    )
    arrays = [inputs[spec.name] for spec in network.signature.inputs]
    found = run_network(lower(choice.mod, description, half=choice.half), arrays)
    if quant == "int8":
        return found, run_here(choice.mod, here, arrays)[0]
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString())
    return found, list(session.run(None, dict(inputs)))
