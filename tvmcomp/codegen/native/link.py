"""Link a network's code, its driver and the runtime in C to a shared library."""

from __future__ import annotations

from tvmcomp.codegen.cruntime import FLAGS, include_folder, sources
from tvmcomp.codegen.native.emit import NativeCode
from tvmcomp.codegen.toolchain import c_compiler
from tvmcomp.targets import TargetDescription
from tvmcomp.temporary_folder import temporary_folder

#: What the library shows: its C interface, and what TVM's loader looks up.
_EXPORTS = "{ global: tvmcomp_*; __tvm_ffi_*; __TVMFFIErrorSetRaisedFromCStr; local: *; };\n"
_OPTIONS = (
    *FLAGS,
    "-DTVMCOMP_SHARED",
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
    compiler = c_compiler(target, linker)
    with temporary_folder("link") as folder:
        (folder / "kernels.o").write_bytes(code.kernels)
        (folder / "driver.c").write_text(code.driver, encoding="utf-8")
        (folder / "exports.map").write_text(_EXPORTS)
        output = folder / "lib.so"
        compiler.run(
            "linking",
            output,
            [
                *_OPTIONS,
                f"-I{include_folder()}",
                f"-Wl,--version-script={folder / 'exports.map'}",
                str(folder / "driver.c"),
                str(folder / "kernels.o"),
                *map(str, sources(sorts=code.calls_by_name, for_tvm=True)),
                "-lm",
            ],
        )
        return output.read_bytes()
