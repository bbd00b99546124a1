"""Trained networks from the wild: whoever runs the compiled kernels gets the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from needed import missing
from program_outputs import outputs_of
from served import Served

import tvmcomp
from benchmarks.zoo.catalogue import NETWORKS, fetch
from benchmarks.zoo.data import load
from tvmcomp import targets
from tvmcomp.codegen import compile as codegen
from tvmcomp.passes.lowered import Lowered
from tvmcomp.quantize import QuantConfig
from tvmcomp.schedules.bfloat16 import has_bfloat16
from tvmcomp.tvm_import import tvm

pytestmark = pytest.mark.slow

#: All in integers, soon: how good they are is not judged here.
IN_INTEGERS = QuantConfig(round="nearest", min_sqnr_db=None)
SAMPLES = 8


@pytest.mark.parametrize("precision", ["float32", "int8", "bf16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network(
    name: str,
    precision: str,
    server: Served,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The session in Python, the program in C, a board over RPC, and TVM's virtual machine."""
    if precision == "bf16" and not has_bfloat16(targets.detect()):
        missing("this machine has no bfloat16 instructions")
    lowered: list[Lowered] = []
    emit = codegen.emit

    def emit_and_keep(shapes: list[Lowered], *arguments: Any, **options: Any) -> Any:
        lowered[:] = shapes
        return emit(shapes, *arguments, **options)

    monkeypatch.setattr(codegen, "emit", emit_and_keep)
    calibration, evaluation = load(name)
    inputs = {key: array[:1] for key, array in evaluation.inputs.items()}
    samples = [
        {key: array[i : i + 1] for key, array in calibration.inputs.items()} for i in range(SAMPLES)
    ]
    artifact = tvmcomp.build(
        fetch(name),
        quant=None if precision == "float32" else precision,
        calibration=samples if precision == "int8" else None,
        shapes={key: array.shape for key, array in inputs.items()},
        config=IN_INTEGERS if precision == "int8" else None,
        reference=False,
    )
    with tvmcomp.load(artifact, threads=2) as session:
        wanted = session.run(inputs)
    with tvmcomp.connect(server.address) as board, tvmcomp.load(artifact, device=board) as session:
        over_rpc = session.run(inputs)
    found = {
        "program in C": outputs_of(artifact, inputs, tmp_path),
        "board over RPC": over_rpc,
        "virtual machine": dict(zip(wanted, in_virtual_machine(lowered[-1], inputs), strict=True)),
    }
    for who, outputs in found.items():
        for output, array in wanted.items():
            np.testing.assert_array_equal(
                outputs[output].view(np.uint8), array.view(np.uint8), f"{who}: {output}"
            )


def in_virtual_machine(lowered: Lowered, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs that Relax's virtual machine gives, with the code that TVM makes of kernels."""
    machine = tvm.relax.VirtualMachine(codegen.generate(lowered, lowered.target), tvm.cpu())
    arguments = map(tvm.runtime.tensor, (*inputs.values(), *lowered.constants))
    outputs = machine["main"](*arguments)
    return [each.numpy() for each in ([outputs] if hasattr(outputs, "numpy") else outputs)]
