"""A library of one GPU kernel: what the tuner measures. Made with no GPU."""

from __future__ import annotations

from pathlib import Path

from tvmcomp.codegen.code_target import machine_code
from tvmcomp.codegen.cuda.kernels import compiled_at_build
from tvmcomp.codegen.object_files import export
from tvmcomp.codegen.toolchain import link_function
from tvmcomp.passes.scheduled.schedule import schedule_module
from tvmcomp.targets import TargetDescription
from tvmcomp.temporary_folder import temporary_folder
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimFunc

#: The name of its function, which takes the kernel's tensors.
FUNCTION = "main"


def gpu_kernel_library(func: PrimFunc, target: TargetDescription, linker: str | None) -> bytes:
    """Compile and link a kernel; one that no schedule has bound to threads gets the baseline's.

    Raises:
        ToolError: a tool is missing, or refuses it.
    """
    module = tvm.IRModule({FUNCTION: func.with_attr("global_symbol", FUNCTION)})
    if not _is_bound(func):
        module = schedule_module(module, target)
    with compiled_at_build():
        executable = machine_code(module, target, in_integers=False)
    with temporary_folder("link") as folder:
        path = Path(folder, "kernel.so")
        export(executable, path, link_function(target, linker))
        return path.read_bytes()


def _is_bound(func: PrimFunc) -> bool:
    """Whether it is written in terms of a GPU's blocks and threads."""
    import tvm_ffi  # not above: tvm_import must be the first to import it

    found: list[bool] = []
    thread = tvm.tirx.ForKind.THREAD_BINDING
    tvm_ffi.structural_walk(
        func.body, (tvm.tirx.For, lambda loop: found.append(loop.kind == thread))
    )
    tvm_ffi.structural_walk(
        func.body,
        (tvm.tirx.AttrStmt, lambda node: found.append(str(node.attr_key) == "thread_extent")),
    )
    return any(found)
