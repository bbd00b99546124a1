"""How machine code is generated: the same for a build and for the tuner's kernels."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from tvmcomp.codegen.beside import both
from tvmcomp.codegen.object_files import object_file
from tvmcomp.codegen.toolchain import link_function
from tvmcomp.errors import ToolError
from tvmcomp.targets.description import TargetDescription
from tvmcomp.temporary_folder import temporary_folder
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module

relax = tvm.relax
vm_build = relax.vm_build
#: Kernels from which on two halves are generated at once: to join them takes as long as three.
MANY_KERNELS = 24


def code_target(target: TargetDescription, in_integers: bool) -> Any:
    """The ``tvm.target.Target`` to generate code for.

    Args:
        target: the device.
        in_integers: whether the network multiplies 8-bit integers. LLVM would keep the constants of
            an epilogue (a GELU has twenty) in registers throughout, and the accumulators in memory.
            Float kernels have fewer and gain a little from it.
    """
    options = target.tvm_target_dict()
    if in_integers and target.family != "cuda":
        options["cl-opt"] = ["-disable-machine-licm:bool=1"]
    return tvm.target.Target(options)


def unchecked() -> Any:
    """The context that code of kernels is generated in: they don't check their arguments, which
    would be two thirds of a small network's code. Whoever calls them vouches for these.
    """
    current = tvm.transform.PassContext.current()
    config = {**current.config, "tirx.disable_assert": True}
    return tvm.transform.PassContext(opt_level=current.opt_level, config=config)


def _captured() -> Any:
    """The context in which kernels that read and write the network's own tensors only, the weights
    among these, become CUDA graphs: the first inference captures their launches, and later ones
    launch each graph as one.
    """
    current = tvm.transform.PassContext.current()
    config = {**current.config, "relax.backend.use_cuda_graph": True}
    return tvm.transform.PassContext(opt_level=current.opt_level, config=config)


def machine_code(module: Module, target: TargetDescription, in_integers: bool) -> Any:
    """An executable of scheduled kernels, with a virtual machine's ``main`` or without.

    ``main`` checks the network's inputs; all else that kernels get are tensors of its own, and
    constants, which the artifact's digests vouch for.

    Args:
        module: what to generate code for.
        target: the device.
        in_integers: see :func:`code_target`.
    """
    chosen = code_target(target, in_integers)
    kernels = sum(isinstance(func, tvm.tirx.PrimFunc) for func in module.functions.values())
    with unchecked():
        if kernels >= MANY_KERNELS and target.family != "cuda" and "main" in module:
            found = _in_halves(module, target, chosen)
            if found is not None:
                return found
        # Loops are functions, too, whose arguments change from call to call: none is captured.
        functions = sum(isinstance(func, relax.Function) for func in module.functions.values())
        with _captured() if target.gpu.graphs and functions == 1 else nullcontext():
            return tvm.compile(module, target=chosen)


def _in_halves(module: Module, target: TargetDescription, chosen: Any) -> Any | None:
    """An executable with half of its kernels in a library of their own; None where none can be
    linked, or loaded from where temporary files lie."""
    try:
        link = link_function(target)
    except ToolError:
        return None
    with chosen:
        module = relax.get_pipeline("default")(module)
    builder = relax.ExecBuilder()
    kernels = list(vm_build._filter_tir(vm_build._vmcodegen(builder, module)).functions.items())

    def built(some: list[Any]) -> Any:
        return tvm.tirx.build(tvm.IRModule(dict(some)), chosen)

    here, code = both(lambda: built(kernels[::2]), lambda: object_file(built(kernels[1::2])))
    try:
        with temporary_folder("half") as folder:
            (folder / "half.o").write_bytes(code)
            link(str(folder / "half.so"), [str(folder / "half.o")])
            library = tvm.runtime.load_module(str(folder / "half.so"))
    except (ToolError, RuntimeError):
        return None
    constants = dict((module.attrs or {}).get("const_name_to_constant", {}))
    return vm_build.VMExecutable(
        vm_build._ffi_api.VMLink(builder, chosen, here, [library], constants)
    )
