"""Where the C runtime is that a compiled network is linked with: ``cruntime/``."""

from __future__ import annotations

from pathlib import Path

from tvmcomp.errors import ToolError

_PACKAGE = Path(__file__).parents[1]
#: In a checkout the files are at the top level; a wheel carries them inside the package.
_FOLDERS = (_PACKAGE / "data" / "cruntime", _PACKAGE.parent / "cruntime")

#: What every network needs.
_ALWAYS = (
    "affinity.c",
    "arm_division.c",
    "batch.c",
    "borrowed.c",
    "coded.c",
    "context.c",
    "cpu_features.c",
    "pool.c",
    "rans.c",
    "run.c",
    "turn.c",
    "weights.c",
    "workspace.c",
)
#: What a network with a TopK needs too: its kernels call by name.
_SORT = "sort.c"
#: What TVM's loader finds in the same library.
_TVM_ENTRY = "tvm_entry.c"
#: What a network needs whose kernels are in other libraries.
_REPLACEABLE = "replaceable.c"

#: How the files are compiled, with any C11 compiler; the functions of ``tvmcomp.h`` stay visible.
FLAGS = ("-std=c11", "-O2", "-fPIC", "-fvisibility=hidden")


def folder() -> Path:
    """Return the folder of the C files.

    Raises:
        ToolError: the installation lacks it.
    """
    for path in _FOLDERS:
        if path.is_dir():
            return path
    raise ToolError(
        "the C runtime that networks are linked with is missing",
        where=str(_FOLDERS[0]),
        hint="Install tvmcomp anew.",
    )


def include_folder() -> Path:
    """Return the folder of ``tvmcomp.h``: what a compiler's ``-I`` is given.

    Raises:
        ToolError: the installation lacks it.
    """
    return folder() / "include"


def sources(
    *, sorts: bool = False, for_tvm: bool = False, replaceable: bool = False
) -> tuple[Path, ...]:
    """Return the C files to compile with :data:`FLAGS` and link to a network.

    Args:
        sorts: the kernels call a function by name (``__TVMFFIFunctionCall``), as TopK's do.
        for_tvm: the library has a ``tvmcomp_library()``, and TVM's RPC is to load it.
        replaceable: its kernels lie in other libraries.

    Raises:
        ToolError: the installation lacks them.
    """
    here = folder()
    some = {_SORT: sorts, _TVM_ENTRY: for_tvm, _REPLACEABLE: replaceable}
    names = [*_ALWAYS, *(name for name, wanted in some.items() if wanted)]
    return tuple(here / name for name in names)


def race_source() -> Path:
    """Return the C file of a program that runs several networks of one kernel.

    Raises:
        ToolError: the installation lacks it.
    """
    return folder() / "race" / "race.c"


def sort_source() -> Path:
    """Return the C file that kernels need which call a function by name.

    Raises:
        ToolError: the installation lacks it.
    """
    return folder() / _SORT
