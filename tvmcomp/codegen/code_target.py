"""How machine code is generated: the same for a build and for the tuner's kernels."""

from __future__ import annotations

from typing import Any

from tvmcomp.targets.description import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module


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


def machine_code(module: Module, target: TargetDescription, in_integers: bool) -> Any:
    """An executable of scheduled kernels, with a virtual machine's ``main`` or without.

    ``main`` checks the network's inputs; all else that kernels get are tensors of its own, and
    constants, which the artifact's digests vouch for.

    Args:
        module: what to generate code for.
        target: the device.
        in_integers: see :func:`code_target`.
    """
    with unchecked():
        return tvm.compile(module, target=code_target(target, in_integers))
