"""Machine code of a network's kernels: one object file of functions with plain C signatures."""

from __future__ import annotations

from collections.abc import Mapping

from tvmcomp.codegen.code_target import code_target, unchecked
from tvmcomp.codegen.native.imports import check_names, check_variables
from tvmcomp.codegen.native.plain_signature import PLAIN
from tvmcomp.codegen.object_files import object_file
from tvmcomp.targets import TargetDescription
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
    with unchecked():
        built = tvm.tirx.build(tvm.IRModule(named), code_target(target, in_integers), PLAIN)
    code = object_file(built)
    check_variables(code)
    return code
