"""TVM's CUDA runtime in this process, which takes kernels that were compiled at build time.

It would compile source; here it is handed what :class:`~tvmcomp.artifact.gpu_code.GpuCode` has for
the GPU.
"""

from __future__ import annotations

import ctypes
import functools

from tvmcomp.artifact.gpu_code import MARK, GpuCode
from tvmcomp.errors import ToolError
from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.nvidia_packages import nvidia_file
from tvmcomp.runtime.tvm_runtime import load_runtime_part
from tvmcomp.targets.gpu import detect_cuda

#: TVM's name of what its runtime calls to make machine code of a module's text.
_COMPILE = "tvm_callback_cuda_compile"
_CUDART = "libcudart.so.13"


@functools.cache
def enable_gpu() -> None:
    """Load TVM's CUDA runtime, once. Nothing is asked of the GPU yet.

    Raises:
        ToolError: it, or what it needs of NVIDIA's, is not here.
    """
    _load_cudart()
    try:
        load_runtime_part("tvm_runtime_cuda")
    except (OSError, RuntimeError) as error:
        raise ToolError(
            f"TVM's CUDA runtime can't be loaded: {str(error).strip().splitlines()[-1]}",
            hint="It needs NVIDIA's driver, of CUDA 13 or later, and libcudart.so.13: "
            "`pip install 'tvmcomp[cuda]'` brings that.",
        ) from None
    accept_compiled()


def accept_compiled() -> None:
    """Let this process load libraries whose kernels are compiled already."""
    tvm_ffi.register_global_func(_COMPILE, _code_for_this_gpu, override=True)


def _code_for_this_gpu(text: str) -> bytes:
    if not text.startswith(MARK):
        raise ToolError(
            "the library holds source of GPU kernels, not code",
            hint="Build it again with `tvmcomp build`.",
        )
    return GpuCode.from_text(text).for_gpu(detect_cuda().cuda_arch)


def _load_cudart() -> None:
    """Let the dynamic linker find CUDA's runtime where only the wheel has it."""
    try:
        ctypes.CDLL(_CUDART, ctypes.RTLD_GLOBAL)
    except OSError:
        path = nvidia_file(f"lib/{_CUDART}")
        if path is not None:
            ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
