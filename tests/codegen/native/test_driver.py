"""The text of a driver: what a person reads, and that every compiler takes it."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest
from native_runs import HERE, signature_of
from passes.relax_modules import module
from waiting import run

from tvmcomp.codegen.cruntime import include_folder
from tvmcomp.codegen.native.driver import driver_text
from tvmcomp.codegen.native.emit import emit
from tvmcomp.codegen.native.inference import Inference, Repeated
from tvmcomp.codegen.native.plan import Call, Loop, Place, Plan, Tensor
from tvmcomp.codegen.native.workspace import place
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.passes.dump import Dump
from tvmcomp.passes.pipeline import lower
from tvmcomp.tvm_import import tvm


def floats(kind, index, *shape):
    return Tensor(Place(kind, index), shape, "float32", 4 * int(np.prod(shape)))


X, W, Y, HIDDEN = (
    floats("input", 0, 2, 3), floats("constant", 0, 3), floats("buffer", 1, 2, 3),
    floats("buffer", 0, 2, 40),
)  # fmt: skip
SCALAR = Tensor(Place("scalar", 0), (), "int16", 2)
TRIP, BOOL = Tensor(Place("trip", 0), (), "int64", 8), Tensor(Place("buffer", 2), (), "bool", 1)
CARRIED, NEXT = floats("carried", 0, 2, 3), floats("next", 0, 2, 3)
LOOP = Loop(
    number=0, trips=Tensor(Place("input", 1), (), "int64", 8), going=BOOL, most=8, starts=(Y,),
    carried=(CARRIED,), body=(Call(2, (TRIP, CARRIED), (NEXT,)),), states=(NEXT,), condition=BOOL,
    rows=((CARRIED, floats("buffer", 3, 8, 2, 3)),), spare={},
)  # fmt: skip
PLAN = Plan(
    kernels=("wide", "narrow", "step"),
    inputs=(X, LOOP.trips),
    constants=(W,),
    scalars=(np.array(-2, "int16"),),
    buffers=(320, 24, 1, 192),
    carried=((24, True),),
    loops=1,
    steps=(Call(0, (X, W, SCALAR), (HIDDEN,)), Call(1, (HIDDEN,), (Y, BOOL)), LOOP),
    outputs=(Y, CARRIED, X, LOOP.rows[0][1], Y),
)
NAMES = ("a", "b", "c", "d", "e")


def signature(inputs=("x", "trips"), outputs=NAMES):
    def specs(names, tensors):
        pairs = zip(names, tensors, strict=True)
        return tuple(TensorSpec(name, each.shape, each.dtype) for name, each in pairs)

    return Signature(specs(inputs, PLAN.inputs), specs(outputs, PLAN.outputs))


def text(alignments=(4, 8), **names):
    copied = [i for i, alignment in enumerate(alignments) if alignment == 64]
    space = place(PLAN, copied)
    inference = Inference(PLAN, space, signature(**names), alignments)
    return driver_text([inference], "net", ["avx2", "fma"]), space


def test_a_call_says_what_it_takes_and_gives():
    lines = text()[0].splitlines()
    at = lines.index("  /* wide: (float32[2, 3], float32[3], int16[]) -> float32[2, 40] */")
    space = text()[1]
    hidden = space.offsets[HIDDEN.place]
    assert lines[at + 1] == f"  CALL(0, net_k0(in[0], weight[0], scalar0, w + {hidden}));"
    assert "int32_t net_k0(const void *, const void *, const void *, void *); /* wide */" in lines
    assert "  static const _Alignas(64) uint8_t scalar0[] = {254, 255}; /* int16 -2 */" in lines


def test_outputs_lie_where_the_caller_wants_them():
    """Buffers do, if that is aligned; what is an input, a state or another output is copied."""
    driver, space = text()
    offset = space.offsets[Y.place]
    assert f"  uint8_t *const out0 = (uintptr_t)out[0] % 64 ? w + {offset} : out[0];" in driver
    end = driver[driver.rindex("  }\n") :]
    assert "if (out0 != out[0]) memcpy(out[0], out0, 24);" in end
    for copy in ("out[1], carried0, 24", "out[2], in[0], 24", "out[4], out0, 24"):
        assert f"  memcpy({copy});" in end
    assert "if (out3 != out[3]) memcpy(out[3], out3, 192);" in end


def repeated():
    """The network for three times the batch, too."""
    space = place(PLAN, [])
    inference = Inference(PLAN, space, signature(), (4, 8))

    def longer(specs):
        return tuple(TensorSpec(s.name, (3, *s.shape), s.dtype) for s in specs)

    own = Signature(longer(signature().inputs), longer(signature().outputs))
    return driver_text([inference, Repeated(3, own)], "net", ["avx2", "fma"]), space


def test_a_batch_in_parts():
    driver, space = repeated()
    assert "(const uint8_t *)frame->inputs[0] + part * (size_t)24u" in driver
    assert f"tvmcomp_each_part(frame, part_shape1, 3, {space.size}u, 3);" in driver
    assert '{"x", "float32", 3, shape_3_2_3, 72u, 4},' in driver
    assert f"    .workspace = {3 * space.size}u,\n" in driver
    assert "{&net_network, &net_shape1_network}" in driver
    assert driver.count("int32_t net_k0(") == 1


def test_an_input_is_copied_only_where_its_kernels_need_it():
    assert "in0" not in text()[0]
    driver, space = text((64, 8))
    copy = f"if ((uintptr_t)in0 % 64) in0 = memcpy(w + {space.offsets[X.place]}, in0, 24);"
    assert copy in driver
    assert "net_k0(in0, weight[0]" in driver
    assert '{"x", "float32", 2, shape_2_3, 24u, 64},' in driver


def test_a_loop():
    driver, space = text()
    body = driver[driver.index("/* a loop of at most 8 trips */") : driver.index("  /* step")]
    going = f"*(const uint8_t *)(w + {space.offsets[BOOL.place]})"
    assert "memcpy(carried0, out0, 24);" in body
    assert "memset(out3, 0, 192);" in body
    assert f"uint8_t going0 = {going};" in body
    assert "for (; going0 && trip0 < *(const int64_t *)(in[1]) && trip0 < 8; trip0++) {" in body
    trip = driver[driver.index("CALL(2,") : driver.index("return 0;")]
    order = [
        "net_k2(&trip0, carried0, next0)",
        "memcpy(out3 + trip0 * 24, carried0, 24);",
        f"going0 = {going};",
        "carried0 = next0, next0 = then0;",
    ]
    assert sorted(order, key=trip.index) == order


def test_the_descriptor():
    driver, space = text()
    for line in (
        'features = "avx2,fma"', "num_inputs = 2", "num_outputs = 5", "num_constants = 1",
        "num_kernels = 3", f"workspace = {space.size}u",
    ):  # fmt: skip
        assert f"    .{line},\n" in driver
    assert driver.count("static const int64_t shape_2_3[] = {2, 3};") == 1
    assert "static const int64_t shape[] = {0};" in driver


def test_names_that_others_see_begin_with_the_networks():
    """Every definition that is not static."""
    for line in text()[0].splitlines():
        if line and line[0].isalpha() and not line.startswith(("static", "TVMCOMP_API")):
            assert line.startswith(("int32_t net_k", "extern const")) or " net_" in line or (
                line.startswith("const tvmcomp_network *tvmcomp_library(int32_t shape)")
            )  # fmt: skip


COMPILERS = [[sys.executable, "-m", "ziglang", "cc"], ["gcc"], ["clang"]]


@pytest.mark.parametrize("compiler", COMPILERS, ids=["zig", "gcc", "clang"])
@pytest.mark.parametrize("macros", [[], ["-DTVMCOMP_SHARED"], ["-DTVMCOMP_EMBEDDED"]])
def test_compilers_have_nothing_to_say(compiler, macros, tmp_path):
    """Whatever the tensors are called."""
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"no {compiler[0]} here")
    names = ('"quoted\\"', "/* */ // ??/", "größe\n\x01 %s", "\u202e", "")
    flags = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wmissing-prototypes"]
    include = f"-I{include_folder()}"
    for driver, _ in (text((64, 64), outputs=names), repeated()):
        source = tmp_path / "driver.c"
        source.write_text(driver, encoding="utf-8")
        run([*compiler, *flags, *macros, include, "-c", "-o", str(tmp_path / "o.o"), str(source)])


def test_a_dump_shows_it(tmp_path):
    """Beside the modules, as C."""
    dump = Dump(tmp_path)
    dump("scheduled", tvm.IRModule({}))
    lowered = lower(module(lambda emit, x: x, x=(2,)), HERE)
    code = emit([lowered], HERE, [signature_of(lowered)], watch=dump)
    assert (tmp_path / "01_driver.c").read_text() == code.driver
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["00_scheduled.py", "01_driver.c"]
