"""Which precision a build gives each operator, and the errors where it can't."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import dequantized, module, quantized, relax, uniform, weight

from tvmcomp import targets
from tvmcomp.errors import CalibrationError, TargetError
from tvmcomp.model import Model, Signature, TensorSpec
from tvmcomp.passes.rewriter import const
from tvmcomp.progress import NoProgress
from tvmcomp.quantize import QuantConfig
from tvmcomp.quantize.data import load_samples
from tvmcomp.quantize.operator_report import expected_operators
from tvmcomp.quantize.precision import choose_precision

HERE = targets.detect()
RNG = np.random.default_rng(0)
W = uniform(RNG, 6, 4)
SIGNATURE = Signature((TensorSpec("x", (2, 6), "float32"),), (TensorSpec("y", (2, 4), "float32"),))


def network(emit, x):
    return [emit(relax.op.nn.softmax(emit(relax.op.matmul(x, const(W)), "m")), "y")]


def imported(emit, x):
    """What came quantized."""
    q = emit(dequantized(emit(quantized(x, 0.02, 128), "q"), 0.02, 128), "dq")
    values = RNG.integers(-127, 128, (6, 4)).astype(np.int8)
    w = emit(weight(values, np.ones(4, np.float32), 1), "w")
    return [emit(relax.op.nn.softmax(emit(relax.op.matmul(q, w), "m")), "y")]


def choose(quant, build=network, target=HERE, samples=None, watch=None):
    model = Model(module(build, x=(2, 6)), SIGNATURE, "net.onnx", "0" * 64)
    return choose_precision(model, target, HERE, quant, samples, QuantConfig(), NoProgress(), watch)


def dtypes(choice):
    return {op.name: op.dtype for op in choice.operators}


def test_float_by_default():
    choice = choose(None)
    assert (choice.precision, choice.half) == ("none", None)
    assert dtypes(choice) == {"m": "float32", "y": "float32"}


@pytest.mark.parametrize(("quant", "dtype"), [("fp16", "float16"), ("bf16", "bfloat16")])
def test_half_precision_is_for_what_has_weights(quant, dtype):
    choice = choose(quant, target=targets.load("sapphirerapids"))
    assert (choice.precision, choice.half) == (quant, dtype)
    assert dtypes(choice) == {"m": dtype, "y": "float32"}


@pytest.mark.parametrize(
    ("name", "instruction"), [("sapphirerapids", "bf16"), ("graviton3", "bfdot")]
)
def test_the_notes_say_what_bf16_does(name, instruction):
    (note,) = choose("bf16", target=targets.load(name)).notes
    assert instruction in note
    assert choose("fp16", target=targets.load(name)).notes == []


def test_bf16_needs_a_target_that_has_it():
    with pytest.raises(TargetError, match="no bfloat16"):
        choose("bf16", target=targets.load("x86-64-v3"))


def test_int8_needs_samples():
    with pytest.raises(CalibrationError) as caught:
        choose("int8")
    assert "--calibration" in caught.value.hint


def test_int8_from_samples():
    phases = []
    samples = load_samples([{"x": uniform(RNG, 2, 6)} for _ in range(4)], SIGNATURE)
    choice = choose("int8", samples=samples, watch=lambda name, _: phases.append(name))
    assert choice.precision == "int8"
    assert dtypes(choice) == {"m": "int8", "y": "float32"}
    assert choice.calibration["samples"] == 4
    assert phases[-1] == "annotated"


@pytest.mark.parametrize("quant", [None, "int8"])
def test_a_model_that_came_quantized_is_not_calibrated_again(quant):
    choice = choose(quant, imported)
    assert choice.precision == "int8"
    assert dtypes(choice)["m"] == "int8"
    assert "came quantized" in choice.notes[0]


def test_inspect_plans_without_samples():
    planned = {op.name: op for op in expected_operators(module(network, x=(2, 6)))}
    assert planned["m"].dtype == "int8"
    assert planned["y"].reason == "no integer form"
