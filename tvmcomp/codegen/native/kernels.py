"""Machine code of a network's kernels: one object file of functions with plain C signatures."""

from __future__ import annotations

from collections.abc import Mapping

from tvmcomp.codegen.beside import both
from tvmcomp.codegen.code_target import MANY_KERNELS, code_target, unchecked
from tvmcomp.codegen.native.imports import check_names, check_variables
from tvmcomp.codegen.native.plain_signature import PLAIN
from tvmcomp.codegen.object_files import object_file
from tvmcomp.codegen.toolchain import c_compiler
from tvmcomp.errors import ToolError
from tvmcomp.targets import TargetDescription
from tvmcomp.temporary_folder import temporary_folder
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimFunc


def kernel_object(
    kernels: Mapping[str, PrimFunc], target: TargetDescription, in_integers: bool
) -> bytes:
    """An ELF object file with a function for each kernel.

    Args:
        kernels: scheduled, by the symbols that they get.
        target: the device.
        in_integers: see :func:`tvmcomp.codegen.code_target.code_target`.

    Raises:
        ToolError: a kernel calls a function that no device has, or the object file is larger than
            this process may write.
    """
    for func in kernels.values():
        check_names(func)
    named = {name: func.with_attr("global_symbol", name) for name, func in kernels.items()}
    code = _in_halves(named, target, in_integers) if len(named) >= MANY_KERNELS else None
    code = _generated(named, target, in_integers) if code is None else code
    check_variables(code)
    return code


def _generated(
    kernels: Mapping[str, PrimFunc], target: TargetDescription, in_integers: bool
) -> bytes:
    with unchecked():
        built = tvm.tirx.build(tvm.IRModule(kernels), code_target(target, in_integers), PLAIN)
    return object_file(built)


def _in_halves(
    kernels: Mapping[str, PrimFunc], target: TargetDescription, in_integers: bool
) -> bytes | None:
    """The same code, in another order; None where no tool joins object files."""
    try:
        joiner = c_compiler(target)
    except ToolError:
        return None
    ordered = list(kernels.items())
    halves = both(
        lambda: _generated(dict(ordered[::2]), target, in_integers),
        lambda: _generated(dict(ordered[1::2]), target, in_integers),
    )
    with temporary_folder("join") as folder:
        paths = [folder / "even.o", folder / "odd.o"]
        for path, code in zip(paths, halves, strict=True):
            path.write_bytes(code)
        output = folder / "kernels.o"
        joiner.run("linking", output, ["-r", "-nostdlib", *map(str, paths)])
        return output.read_bytes()
