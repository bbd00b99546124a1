"""Transposes: any permutation, element type and size, alone and with what is fused to them."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from passes.relax_modules import module, relax, tensor
from waiting import run

from tvmcomp import targets
from tvmcomp.codegen.compile import generate, run_here
from tvmcomp.passes.pipeline import lower

HERE = targets.detect()


@settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(
    axes=st.permutations([0, 1, 2]),
    shape=st.tuples(st.integers(1, 70), st.integers(1, 40), st.integers(1, 70)),
    dtype=st.sampled_from(["float32", "uint8", "int64", "float16", "bool"]),
)
def test_any_permutation(axes, shape, dtype):
    x = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype)
    mod = module(
        lambda emit, v: emit(relax.op.permute_dims(v, list(axes)), "y"), x=tensor(shape, dtype)
    )
    (actual,), _ = run_here(mod, HERE, [x])
    np.testing.assert_array_equal(actual, x.transpose(axes))


@pytest.mark.parametrize("shape", [(64, 48), (33, 130), (5, 200)])
def test_fused_with_what_precedes_and_follows(shape):
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(s).astype(np.float32) for s in (shape, shape[::-1]))

    def build(emit, a, b):
        doubled = emit(relax.op.multiply(a, relax.const(2.0)), "d")
        turned = emit(relax.op.permute_dims(doubled), "t")
        return emit(relax.op.nn.relu(emit(relax.op.add(turned, b), "s")), "y")

    mod = module(build, x=x.shape, y=y.shape)
    (actual,), _ = run_here(mod, HERE, [x, y])
    np.testing.assert_allclose(actual, np.maximum(2 * x.T + y, 0), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "shuffle"),
    [("x86-64-v3", r"vunpck|vperm2f128|vblendps|vshufps"), ("rpi4", r"trn[12]|zip[12]|\bext\b")],
)
def test_squares_are_turned_in_registers(name, shuffle):
    target = targets.load(name)
    mod = module(lambda emit, v: emit(relax.op.permute_dims(v), "y"), x=(64, 64))
    assembly = generate(lower(mod, target), target).mod.imports[0].inspect_source("asm")
    assert len(re.findall(shuffle, assembly)) >= 4


@settings(
    max_examples=15,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(
    shape=st.tuples(st.integers(1, 2), st.integers(1, 40), st.integers(1, 9), st.integers(1, 40)),
    around=st.lists(st.integers(0, 20), min_size=4, max_size=4),
    behind=st.integers(0, 5),
    dtype=st.sampled_from(["float32", "uint8"]),
)
def test_any_border(shape, around, behind, dtype):
    x = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    widths = [0, 0, *around, 0, behind]

    def build(emit, v):
        turned = emit(relax.op.permute_dims(v, [0, 2, 3, 1]), "t")
        return emit(relax.op.nn.pad(turned, widths, pad_value=7), "y")

    (actual,), _ = run_here(module(build, x=tensor(shape, dtype)), HERE, [x])
    pairs = list(zip(widths[::2], widths[1::2], strict=True))
    expected = np.pad(x.transpose(0, 2, 3, 1), pairs, constant_values=7)
    np.testing.assert_array_equal(actual, expected)


def test_a_small_image_in_a_border_is_turned_in_registers():
    """All of its squares would reach into the border if they began with it."""

    def build(emit, v):
        turned = emit(relax.op.permute_dims(v, [0, 2, 3, 1]), "t")
        return emit(relax.op.nn.pad(turned, [0, 0, 1, 1, 1, 1, 0, 0]), "y")

    target = targets.load("x86-64-v3")
    mod = module(build, x=(1, 32, 14, 14))
    assembly = generate(lower(mod, target), target).mod.imports[0].inspect_source("asm")
    assert len(re.findall(r"vunpck|vperm2f128|vblendps|vshufps", assembly)) >= 24


@pytest.mark.parametrize("channels", [3, 4, 8])
@pytest.mark.parametrize("width", [9, 16, 33])
def test_nothing_is_read_outside_of_a_padded_tensor(channels, width):
    """The tensor ends where its memory does, before and behind: another read ends the process."""
    shape = (1, channels, 16, width)
    widths = [0, 0, 3, 3, 2, 5, 0, 0]
    code = f"""
import ctypes, mmap
import numpy as np
from tvmcomp import targets
from tvmcomp.codegen.compile import generate
from tvmcomp.passes.pipeline import lower
from tvmcomp.tvm_import import tvm
from tvmcomp.ffi_import import tvm_ffi

relax = tvm.relax
x = relax.Var("x", relax.TensorType({list(shape)}, "float32"))
builder = relax.BlockBuilder()
with builder.function("main", [x]):
    with builder.dataflow():
        turned = builder.emit(relax.op.permute_dims(x, [0, 2, 3, 1]))
        y = builder.emit_output(relax.op.nn.pad(turned, {widths}))
    builder.emit_func_output(y)
here = targets.detect()
vm = relax.VirtualMachine(generate(lower(builder.get(), here), here), tvm.cpu())
size = {4 * int(np.prod(shape))}
page = mmap.PAGESIZE
pages = -(-size // page)
memory = mmap.mmap(-1, (pages + 2) * page)
begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
libc = ctypes.CDLL(None)
for guard in (begin, begin + (pages + 1) * page):
    assert libc.mprotect(ctypes.c_void_p(guard), page, 0) == 0
for offset in (page, (pages + 1) * page - size):  # at the beginning, then at the end
    array = np.frombuffer(memory, "float32", size // 4, offset).reshape({shape})
    array[...] = np.arange(size // 4, dtype="float32").reshape({shape})
    actual = vm["main"](tvm_ffi.from_dlpack(array)).numpy()
    expected = np.pad(array.transpose(0, 2, 3, 1), [(0, 0), (3, 3), (2, 5), (0, 0)])
    np.testing.assert_array_equal(actual, expected)
"""
    run([sys.executable, "-c", code])
