"""CUDA kernels compiled at build time, on machines with a GPU and without one alike.

Without NVIDIA's driver TVM's code generator only stores the kernels' source in the library, and the
device that loads it has to have nvcc or NVRTC. Here the source is compiled during the build and its
place in the library is taken by :class:`~tvmcomp.artifact.gpu_code.GpuCode`; the loading side hands
that to TVM where it would compile the source.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tvmcomp.artifact.gpu_code import GpuCode
from tvmcomp.codegen.cuda.find import cuda_compiler
from tvmcomp.errors import ToolError
from tvmcomp.passes.phase import Watch
from tvmcomp.runtime.gpu_runtime import accept_compiled
from tvmcomp.tvm_import import tvm

#: What TVM's code generator hands a module's source to.
_POSTPROCESS = "tvm_callback_cuda_postproc"


@contextmanager
def compiled_at_build(watch: Watch | None = None) -> Iterator[None]:
    """Within it ``tvm.compile`` puts code, not source, of CUDA kernels into the library.

    Args:
        watch: is shown the source, the PTX, the machine code, and what the assembler said.

    Raises:
        ToolError: there is no CUDA compiler, or, within, it refuses a kernel.
    """
    from tvm_ffi.registry import remove_global_func  # not before TVM: see tvm_import

    compiler = cuda_compiler()
    refusals: list[ToolError] = []

    def compile_kernels(source: str, target: Any) -> str:
        arch = str(target.attrs["arch"])
        try:
            compiled = compiler.compile(str(source), arch)
        except ToolError as error:
            refusals.append(error)
            raise
        if watch is not None:
            watch("kernels.cu", str(source))
            watch("kernels.ptx", compiled.ptx)
            watch("kernels.cubin", compiled.cubin)
            watch("kernels.log", compiled.log)
        return GpuCode(arch, compiled.cubin, compiled.ptx).to_text()

    accept_compiled()
    tvm.register_global_func(_POSTPROCESS, compile_kernels, override=True)
    try:
        yield
    except Exception:
        # On its way through TVM's C++ code an error loses its class.
        if refusals:
            raise refusals[0] from None
        raise
    finally:
        remove_global_func(_POSTPROCESS)
