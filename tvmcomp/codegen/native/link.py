"""Link a network's code, its driver and the runtime in C to a shared library.

The tuner links the driver with the runtime once, and kernels to libraries of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tvmcomp.codegen.cruntime import FLAGS, include_folder, sort_source, sources
from tvmcomp.codegen.native.emit import NativeCode
from tvmcomp.codegen.native.imports import calls_by_name
from tvmcomp.codegen.toolchain import c_compiler, linker_option
from tvmcomp.targets import TargetDescription
from tvmcomp.temporary_folder import temporary_folder

#: What the library shows: its C interface, and what TVM's loader looks up.
_EXPORTS = "{ global: tvmcomp_*; __tvm_ffi_*; __TVMFFIErrorSetRaised*; local: *; };\n"
_OPTIONS = (
    *FLAGS,
    "-shared",
    "-pthread",
    # A function that neither libc nor the runtime has is an error here, and not on the device.
    "-Wl,-z,defs",
    "-Wl,--gc-sections",
    # A program's own functions of the same names never take the place of the library's.
    "-Wl,-Bsymbolic",
)


def link_shared(code: NativeCode, target: TargetDescription, linker: str | None = None) -> bytes:
    """The shared library of a network; its weights are not in it.

    Args:
        code: the network's.
        target: the device.
        linker: the command line of a C compiler, None for the target's own.

    Raises:
        ToolError: the linker is missing or failed, there is no room for its files, or a kernel
            calls a function that there is none of: the message names it.
    """
    runtime = sources(sorts=code.calls_by_name, for_tvm=True)
    return _linked(code.driver, code.kernels, runtime, target, linker)


def link_replaceable(driver: str, target: TargetDescription, linker: str | None = None) -> bytes:
    """The shared library of a network without kernels, whose driver calls them by variables.

    It shows these where the network's name begins with ``tvmcomp_``, and ``tvmcomp_serve``, which
    is for the libraries of :func:`link_kernels`. The rest is as of :func:`link_shared`.
    """
    return _linked(driver, None, sources(replaceable=True), target, linker)


def link_kernels(kernels: bytes, target: TargetDescription, linker: str | None = None) -> bytes:
    """The shared library of an object file of kernels alone.

    The variables that hold functions of the runtime (:mod:`.imports`) are null until they are set.
    The rest is as of :func:`link_shared`.
    """
    return _linked(None, kernels, [sort_source()] if calls_by_name(kernels) else [], target, linker)


def _linked(
    driver: str | None,
    kernels: bytes | None,
    runtime: Sequence[Path],
    target: TargetDescription,
    linker: str | None,
) -> bytes:
    compiler = c_compiler(target, linker)
    with temporary_folder("link") as folder:
        options, parts = [*_OPTIONS], []
        if kernels is not None:
            parts.append(folder / "kernels.o")
            parts[-1].write_bytes(kernels)
        if driver is not None:
            parts.append(folder / "driver.c")
            parts[-1].write_text(driver, encoding="utf-8")
            exports = folder / "exports.map"
            exports.write_text(_EXPORTS)
            options += ["-DTVMCOMP_SHARED", *linker_option("version-script", exports)]
        output = folder / "lib.so"
        options.append(f"-I{include_folder()}")
        compiler.run("linking", output, [*options, *map(str, (*parts, *runtime)), "-lm"])
        return output.read_bytes()
