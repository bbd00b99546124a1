"""The CUDA compiler that is here: nvcc, or NVRTC from PyPI."""

from __future__ import annotations

from tvmcomp.codegen.cuda import nvcc, nvrtc
from tvmcomp.codegen.cuda.compiler import CudaCompiler
from tvmcomp.errors import ToolError


def cuda_compiler() -> CudaCompiler:
    """nvcc where it is on the PATH, else NVRTC.

    Raises:
        ToolError: there is neither.
    """
    compiler = nvcc.find_nvcc() or nvrtc.find_nvrtc()
    if compiler is None:
        raise ToolError(
            "no CUDA compiler: neither nvcc on the PATH nor NVRTC",
            hint="`pip install 'tvmcomp[cuda]'` brings NVRTC, or install NVIDIA's CUDA toolkit.",
        )
    return compiler
