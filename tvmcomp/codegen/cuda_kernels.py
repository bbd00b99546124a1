"""CUDA kernels compiled at build time, on machines with a GPU and without one alike.

Without NVIDIA's driver TVM's code generator only stores the kernels' source in the library, and the
device that loads it has to have nvcc or NVRTC. Here the source is compiled during the build and its
place in the library is taken by the binary; the loading side hands that binary back to TVM where
it would compile the source.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tvmcomp.codegen.toolchain import cuda_compiler
from tvmcomp.errors import ToolError
from tvmcomp.tvm_import import tvm

# TVM carries the code as text, so the binary travels as base64.
_BINARY = "// tvmcomp: compiled kernels, base64: "
_LAST_LINES = 12


@contextmanager
def compiled_at_build() -> Iterator[None]:
    """Within it ``tvm.compile`` puts binaries, not source, of CUDA kernels into the library.

    Raises:
        ToolError: there is no CUDA compiler, or, within, it refuses a kernel.
    """
    from tvm_ffi.registry import remove_global_func  # not before TVM: see tvm_import

    compiler = cuda_compiler()
    refusals: list[ToolError] = []

    def compile_kernels(code: str, target: Any) -> str:
        try:
            with target:  # the architecture is read from the current target
                cubin = tvm.support.nvcc.compile_cuda(code, "cubin", compiler=compiler)
        except RuntimeError as error:
            # Beside nvcc's own messages the error holds the whole source.
            lines = str(error).splitlines()
            lines = [line for line in lines if "error" in line.lower()] or lines
            what = "\n  ".join(["the CUDA compiler failed:", *lines[-_LAST_LINES:]])
            refusals.append(ToolError(what, where=compiler))
            raise
        return _BINARY + base64.b64encode(cubin).decode()

    accept_binaries()
    tvm.register_global_func("tvm_callback_cuda_postproc", compile_kernels, override=True)
    try:
        yield
    except RuntimeError:
        # On its way through TVM's C++ code an error loses its class.
        if refusals:
            raise refusals[0] from None
        raise
    finally:
        remove_global_func("tvm_callback_cuda_postproc")


def accept_binaries() -> None:
    """Let this process load libraries that were built within :func:`compiled_at_build`."""
    compile_source = tvm.support.nvcc.tvm_callback_cuda_compile

    def binary_of(code: str) -> Any:
        if code.startswith(_BINARY):
            return base64.b64decode(code.removeprefix(_BINARY))
        return compile_source(code)

    tvm.register_global_func("tvm_callback_cuda_compile", binary_of, override=True)
