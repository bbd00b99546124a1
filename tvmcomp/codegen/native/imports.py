"""What kernels may call: functions of libc and libm, and those of TVM that our runtime has.

LLVM's own calls (``memcpy``, ``expf``) and calls by symbol end in the linker, which refuses what
there is none of. What is TVM's does not: a weak variable holds the function's address, or null.
"""

from __future__ import annotations

import re
from typing import Any

from tvmcomp.errors import ToolError
from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimFunc

#: The variables that ``cruntime/`` defines for every network, and for one that calls by name.
_ALWAYS = {f"__TVMBackend{name}" for name in ("ParallelLaunch", "AllocWorkspace", "FreeWorkspace")}
_BY_NAME = {f"__TVMFFI{name}" for name in ("HandleInitOnce", "EnvModLookupFromImports")}
_CALL_BY_NAME = "__TVMFFIFunctionCall"
#: And the functions that it knows by name: of ``cruntime/sort.c``.
_NAMES = {"tvm.contrib.sort.topk"}
_PACKED = ("tirx.tvm_call_packed", "tirx.tvm_call_cpacked")


def check_names(func: PrimFunc) -> None:
    """Check the functions that a kernel calls by name.

    Raises:
        ToolError: our runtime does not have one.
    """

    names: set[str] = set()

    def note(call: Any) -> None:
        if getattr(call.op, "name", None) in _PACKED:
            names.add(str(call.args[0].value))

    tvm_ffi.structural_walk(func.body, (tvm.ir.Call, note), order="pre")
    for name in sorted(names - _NAMES):
        raise _missing(name)


def check_variables(kernels: bytes) -> None:
    """Check what an object file of kernels takes from TVM's runtime.

    Raises:
        ToolError: ours does not have one of them.
    """
    used = {match.decode() for match in re.findall(rb"__TVM\w+", kernels)}
    for name in sorted(used - _ALWAYS - _BY_NAME - {_CALL_BY_NAME}):
        raise _missing(name.removeprefix("__"))


def calls_by_name(kernels: bytes) -> bool:
    """Whether an object file of kernels calls a function by name."""
    return _CALL_BY_NAME.encode() in kernels


def _missing(name: str) -> ToolError:
    return ToolError(
        f"a kernel calls {name}, a function of TVM's that a compiled network does not have",
        hint="This is a defect of the compiler; a network without that operator can be built.",
    )
