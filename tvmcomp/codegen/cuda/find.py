"""The CUDA compiler that is here: NVRTC from PyPI, or nvcc.

NVRTC goes first: it is of one version wherever tvmcomp was installed with it, and takes a third of
the time.
"""

from __future__ import annotations

from tvmcomp.codegen.cuda import nvcc, nvrtc
from tvmcomp.codegen.cuda.compiler import CudaCompiler
from tvmcomp.errors import ToolError


def cuda_compiler() -> CudaCompiler:
    """NVRTC where it is installed, else the nvcc on the PATH.

    Raises:
        ToolError: there is neither.
    """
    compiler = nvrtc.find_nvrtc() or nvcc.find_nvcc()
    if compiler is None:
        raise ToolError(
            "no CUDA compiler: neither NVRTC nor nvcc on the PATH",
            hint="`pip install 'tvmcomp[cuda]'` brings NVRTC, or install NVIDIA's CUDA toolkit.",
        )
    return compiler
