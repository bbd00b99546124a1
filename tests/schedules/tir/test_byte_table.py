"""Tables of 256 bytes: every index, any length; by permutes of registers where there are any."""

from __future__ import annotations

import re

import numpy as np
import pytest
from passes.relax_modules import module, tensor
from passes.relax_modules import weight as weight_in_integers

from tvmcomp import targets
from tvmcomp.codegen.compile import generate, run_here
from tvmcomp.passes.integers.table import lookup
from tvmcomp.passes.pipeline import lower
from tvmcomp.passes.rewriter import const
from tvmcomp.tvm_import import tvm

relax = tvm.relax
HERE = targets.detect()
TABLE = np.random.default_rng(0).permutation(256).astype(np.uint8)


def looks_up(shape, dtype, table=TABLE):
    builder = relax.BlockBuilder()
    x = relax.Var("x", tensor(shape, dtype))
    with builder.function("main", [x]):
        with builder.dataflow():
            output = builder.emit_output(lookup(builder, x, table, "table"))
        builder.emit_func_output(output)
    return builder.get()


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("length", [1, 5, 37, 64, 200, 1000])
def test_every_index(dtype, length):
    low = np.iinfo(dtype).min
    x = np.resize(np.arange(low, low + 256), (3, length)).astype(dtype)
    (actual,), _ = run_here(looks_up(x.shape, dtype), HERE, [x])
    np.testing.assert_array_equal(actual, TABLE[x.astype(int) - low])
    signed = TABLE.view(np.int8)
    (actual,), _ = run_here(looks_up(x.shape, dtype, signed), HERE, [x])
    np.testing.assert_array_equal(actual, signed[x.astype(int) - low])


@pytest.mark.parametrize(
    ("name", "instruction"), [("sapphirerapids", "vperm[it]2b"), ("rpi4", r"\btbl\b")]
)
def test_the_instruction(name, instruction):
    target = targets.load(name)
    mod = looks_up((4, 256), target.activation_dtype)
    assembly = generate(lower(mod, target), target).mod.imports[0].inspect_source("asm")
    assert re.search(instruction, assembly)


@pytest.mark.parametrize("name", ["sapphirerapids", "rpi4"])
@pytest.mark.parametrize("channels", [4, 8, 16])
def test_256_vectors_are_no_table(name, channels):
    """A convolution in int8 keeps its data as an array of vectors: here 256 of them."""
    target = targets.load(name)
    weight = np.ones((32, 3, 3, channels), np.int8)

    def convolution(emit, x):
        scale, zero = const(np.float32(0.1)), const(np.int32(128))
        real = emit(relax.op.quantize(x, scale, zero, -1, "uint8"), "q")
        real = emit(relax.op.dequantize(real, scale, zero, -1), "dq")
        kernel = emit(weight_in_integers(weight, np.full(32, 0.1, np.float32), 0), "w")
        return emit(
            relax.op.nn.conv2d(real, kernel, padding=1, data_layout="NHWC", kernel_layout="OHWI"),
            "conv",
        )

    mod = module(convolution, x=(1, 16, 16, channels))
    generate(lower(mod, target), target)
