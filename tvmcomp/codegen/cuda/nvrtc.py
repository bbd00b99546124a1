"""NVRTC: CUDA's compiler as a library, with headers, all from PyPI (`pip install 'tvmcomp[cuda]'`).

It is called through its C interface: cuda-bindings would be 20 MB for six functions.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tvmcomp.codegen.cuda.compiler import (
    Compiled,
    has_later_ptx,
    refused,
    with_fewest_spills,
)
from tvmcomp.errors import ToolError
from tvmcomp.nvidia_packages import nvidia_file

_LIBRARY = "libnvrtc.so.13"

#: What nvcc knows and NVRTC does not: the integers of <cstdint>, INFINITY, asm's other spelling.
_PREAMBLE = """\
#include <cuda/std/cstdint>
#include <cuda/std/limits>
using cuda::std::int8_t;
using cuda::std::uint8_t;
using cuda::std::int16_t;
using cuda::std::uint16_t;
using cuda::std::int32_t;
using cuda::std::uint32_t;
using cuda::std::int64_t;
using cuda::std::uint64_t;
#ifndef INFINITY
#define INFINITY (cuda::std::numeric_limits<float>::infinity())
#endif
#ifndef __asm__
#define __asm__ asm
#endif
#ifndef __volatile__
#define __volatile__ volatile
#endif
"""
#: Headers of the host's side, which kernels don't need.
_LEFT_OUT = ("#include <cuda.h>", "#include <stdio.h>", "#include <cstdint>")


@functools.cache
def find_nvrtc() -> Nvrtc | None:
    """The installed one with its headers, or None."""
    library, headers = nvidia_file(f"lib/{_LIBRARY}"), nvidia_file("include")
    if library is None or headers is None or not (headers / "cuda_fp16.h").exists():
        return None
    try:
        return Nvrtc(library, [headers, headers / "cccl"])
    except OSError:  # of another machine's kind
        return None


class Nvrtc:
    """See :class:`~tvmcomp.codegen.cuda.compiler.CudaCompiler`.

    Args:
        library: of NVRTC.
        headers: folders of them.

    Raises:
        OSError: it can't be loaded.
    """

    def __init__(self, library: Path, headers: Sequence[Path]) -> None:
        # The library looks for this one by its name alone.
        for builtins in library.parent.glob("libnvrtc-builtins.so.*"):
            ctypes.CDLL(str(builtins))
        self._library = ctypes.CDLL(str(library))
        self._headers = headers
        self.name = "NVRTC"
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("Version", ctypes.byref(major), ctypes.byref(minor))
        self.name = f"NVRTC {major.value}.{minor.value}"

    def compile(self, source: str, arch: str) -> Compiled:
        """Both forms come of one compilation."""
        return with_fewest_spills(lambda options: self._compiled(source, arch, options))

    def _compiled(self, source: str, arch: str, assembling: Sequence[str]) -> Compiled:
        lines = [line for line in source.splitlines() if line.strip() not in _LEFT_OUT]
        text = (_PREAMBLE + "\n".join(lines)).encode()
        options = [
            f"--gpu-architecture={arch}",
            *(f"-I{folder}" for folder in self._headers),
            *("-default-device", "--device-int128", "--std=c++17", "-w", "--ptxas-options=-v"),
            *(f"--ptxas-options={option}" for option in assembling),
        ]
        program = ctypes.c_void_p()
        self._call("CreateProgram", ctypes.byref(program), text, b"kernels.cu", 0, None, None)
        try:
            array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
            status = self._library.nvrtcCompileProgram(program, len(options), array)
            log = self._text(program, "ProgramLog").decode(errors="replace")
            if status != 0:
                raise refused(self.name, log)
            later = self._text(program, "PTX") if has_later_ptx(arch) else b""
            return Compiled(self._bytes(program, "CUBIN"), later, log)
        finally:
            self._call("DestroyProgram", ctypes.byref(program))

    def _bytes(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._call(f"Get{what}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._call(f"Get{what}", program, buffer)
        return buffer.raw

    def _text(self, program: ctypes.c_void_p, what: str) -> bytes:
        return self._bytes(program, what).rstrip(b"\0")

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, f"nvrtc{name}")(*arguments)
        if status != 0:
            describe = self._library.nvrtcGetErrorString
            describe.restype = ctypes.c_char_p
            raise ToolError(f"nvrtc{name}: {describe(status).decode()}", where=self.name)
