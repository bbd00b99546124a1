"""What a kernel calls and no device has is an error of the build, by name."""

from __future__ import annotations

import numpy as np
import pytest
from native_runs import HERE, emitted, run_native, signature_of

from tvmcomp.codegen.native.emit import emit
from tvmcomp.codegen.native.imports import check_variables
from tvmcomp.codegen.native.link import link_shared
from tvmcomp.errors import ModelError, ToolError
from tvmcomp.passes.pipeline import lower
from tvmcomp.tvm_import import tvm

relax, te, tirx = tvm.relax, tvm.te, tvm.tirx


def calling(compute):
    """A network of one kernel on x (4) float32."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((4,), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(builder.call_te(compute, x))
        builder.emit_func_output(result)
    return builder.get()


def by_symbol(name):
    return calling(lambda x: te.compute((4,), lambda i: tirx.call_extern("float32", name, x[i])))


def by_name(name):
    def compute(x):
        def call(ins, outs):
            return tirx.call_packed(name, ins[0], outs[0])

        return te.extern((4,), [x], call, dtype="float32", name="called")

    return calling(compute)


def test_a_function_of_libm_is_there():
    lowered, code = emitted(by_symbol("cbrtf"))
    x = np.array([0, 1, 8, -27], "float32")
    (y,) = run_native(lowered, code, [x])
    np.testing.assert_allclose(y, np.cbrt(x), rtol=1e-6)


def test_a_symbol_that_there_is_none_of():
    _, code = emitted(by_symbol("made_up_function"))
    with pytest.raises(ToolError, match="made_up_function"):
        link_shared(code, HERE)


def test_a_name_that_the_runtime_does_not_know():
    with pytest.raises(ToolError, match=r"tvm\.contrib\.made\.up"):
        emitted(by_name("tvm.contrib.made.up"))


def test_a_variable_of_tvms_that_the_runtime_does_not_define():
    known = b"\0__TVMBackendParallelLaunch\0__TVMFFIFunctionCall\0memcpy\0"
    check_variables(known)
    with pytest.raises(ToolError, match="TVMBackendParallelBarrier"):
        check_variables(known + b"__TVMBackendParallelBarrier\0")


def test_an_operator_that_no_kernel_computes():
    """Not ``null_value``, or whatever else TVM's machine has functions of its own for."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((4,), "float32"))
    with builder.function("main", [x], pure=False):
        printed = relax.op.call_pure_packed("made.up", x, ty_args=x.ty)
        builder.emit_func_output(builder.emit(printed))
    lowered = lower(builder.get(), HERE)
    with pytest.raises(ModelError, match="call_pure_packed"):
        emit([lowered], HERE, [signature_of(lowered)])
