"""The target as TVM's code generator gets it: the same for a build and for the tuner's kernels."""

from __future__ import annotations

from typing import Any

from tvmcomp.targets.description import TargetDescription
from tvmcomp.tvm_import import tvm


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
