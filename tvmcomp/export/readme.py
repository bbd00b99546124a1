"""The README.txt of an exported folder: what is in it, and how it is used."""

from __future__ import annotations

from tvmcomp.export.network import Network

_TEXT = """\
{name}
{line}
{source}, compiled by tvmcomp for {target} ({triple}).
It needs nothing but {needs}.

Weights: {weights}
A context takes {workspace} bytes and, for each
thread beside the calling one, a stack. No function prints or ends the program; each says by its
result what is wrong. Contexts are independent of each other: each thread of a program may have its
own.

{files}
{how}
{program} --selftest          runs on the reference inputs, and compares its outputs
{program} --bench 100         latencies; --threads N, --profile, --json
{program} INPUT... OUTPUT...  on files of the values as they lie in memory, in C order
{program} --info              inputs and outputs, as JSON

The exit status is 0, 1 where the check fails, 2 where the command line, a file or the machine is
the reason.
"""

_INTERFACE = "the functions and, in its first lines, the inputs and outputs"
_CHECKS = "a program that checks and times the network"
_FILES = {
    "static": (
        ("include/{name}.h", _INTERFACE),
        ("lib/lib{name}.a", "the network with its weights"),
        ("lib/libtvmcomp.a", "the runtime: one for all networks of a program"),
        ("lib/cmake/{name}/", "for find_package({name} REQUIRED): the target {name}::{name}"),
        ("example.c", "a whole program"),
        ("selftest/", _CHECKS),
    ),
    "shared": (
        ("include/{name}.h", _INTERFACE),
        ("lib/lib{name}.so", "the network with its weights, and the runtime inside"),
        ("lib/cmake/{name}/", "for find_package({name} REQUIRED): the target {name}::{name}"),
        ("example.c", "a whole program"),
        ("selftest/", _CHECKS),
    ),
    "source": (
        ("{name}.h", _INTERFACE),
        ("{name}_api.c", "these functions"),
        ("{name}_driver.c", "what the network computes: calls of kernels on places in memory"),
        ("{name}_kernels.o", "the kernels' machine code"),
        ("{name}_weights.*", "the weights"),
        ("tvmcomp/", "the runtime, threads and memory: one for all networks of a program"),
        ("example.c", "a whole program"),
        ("{name}_program.c", f"with tvmcomp/program/, {_CHECKS}"),
        ("{name}_reference.*", "the reference inputs and outputs that it checks with"),
        ("Makefile", "see below"),
        ("CMakeLists.txt", "the same for CMake"),
    ),
    "program": (("{name}", _CHECKS),),
}

_LIBRARIES = {"static": "-l{name} -ltvmcomp -lm -lpthread", "shared": "-l{name} -lm"}
_BUILT = """\
Compile the example, and the self-test:

  cc -Iinclude example.c -Llib {libraries} -o example
  cc -Iinclude -Iselftest selftest/*.c selftest/*.S -Llib {libraries} -o {name}_selftest
"""
_SHARED = """
At run time LD_LIBRARY_PATH, or -Wl,-rpath,'$ORIGIN/lib' when linking, says where the library is.
"""
_MADE = """\
make, or CMakeLists.txt, compiles all this: `make`, `make check`, `make example`. What is compiled
is given -DTVMCOMP_EMBEDDED; -DTVMCOMP_WITHOUT_THREADS makes a runtime without threads.
"""
_NEEDS = {
    "static": "libc, libm and POSIX threads",
    "shared": "libc and libm",
    "source": "libc, libm and POSIX threads",
    "program": "Linux",
}


def readme(network: Network, form: str) -> str:
    """The text of ``README.txt`` for an exported ``form``."""
    name = network.name
    rows = [(path.format(name=name), what.format(name=name)) for path, what in _FILES[form]]
    width = max(len(path) for path, _ in rows)
    return _TEXT.format(
        name=name,
        line="=" * len(name),
        source=network.source,
        target=network.target.name,
        triple=network.target.triple,
        needs=_NEEDS[form],
        weights=_weights(network),
        workspace=network.workspace,
        files="".join(f"{path:{width}}  {what}\n" for path, what in rows),
        how=_how(name, form),
        program=f"./{name}" if form == "program" else f"./{name}_selftest",
    )


def _weights(network: Network) -> str:
    nbytes, stored = network.constants_nbytes, network.constants_nbytes_in_file
    if not network.coded.nbytes:
        return f"{nbytes} bytes, in read-only data."
    return (
        f"{nbytes} bytes, coded in {stored} of read-only data: they are decoded with the first\n"
        "context, shared by all, and freed with the last."
    )


def _how(name: str, form: str) -> str:
    if form in _LIBRARIES:
        text = _BUILT.format(name=name, libraries=_LIBRARIES[form].format(name=name))
        return text + (_SHARED if form == "shared" else "")
    return _MADE if form == "source" else "Its options:\n"
