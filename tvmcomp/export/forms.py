"""What an exported folder holds, form by form; ``readme.py`` says it to a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from tvmcomp.codegen import cruntime
from tvmcomp.codegen.toolchain import CCompiler, archive, c_compiler, linker_option, static_triple
from tvmcomp.export import files
from tvmcomp.export.build_files import cmake_lists, cmake_package, makefile
from tvmcomp.export.interface import functions
from tvmcomp.export.network import Network
from tvmcomp.temporary_folder import temporary_folder

_FLAGS = (*cruntime.FLAGS, "-ffunction-sections", "-DTVMCOMP_EMBEDDED")
#: Two shared libraries of a user's, each with the runtime inside, must not share one of the two.
_HIDDEN = '-DTVMCOMP_API=__attribute__((visibility("hidden")))'
#: What is not used is left out: of the runtime, of libc.
_LINK = ("-Wl,--gc-sections", "-Wl,-z,defs", "-lm", "-lpthread")


def static(network: Network, folder: Path, linker: str | None) -> None:
    """Two archives: the network, and the runtime that all networks of a program share."""
    compiler = c_compiler(network.target, linker)
    with temporary_folder("export") as work:
        files.write_header(network, work)
        own = files.write_network(network, work)
        library = _library_folder(network, folder, "static")
        _archive(compiler, own, library / f"lib{network.name}.a", work)
        runtime = cruntime.sources(sorts=True)
        _archive(compiler, runtime, library / "libtvmcomp.a", work, _HIDDEN)


def shared(network: Network, folder: Path, linker: str | None) -> None:
    """One shared library that shows the network's functions only."""
    compiler = c_compiler(network.target, linker)
    name = network.name
    with temporary_folder("export") as work:
        files.write_header(network, work)
        own = files.write_network(network, work)
        shown = work / "shown.map"
        names = "".join(f" {function};" for function in functions(network))
        shown.write_text(f"{{ global:{names} local: *; }};\n")
        library = _library_folder(network, folder, "shared") / f"lib{name}.so"
        options = ["-shared", f"-Wl,-soname,{library.name}"]
        options += linker_option("version-script", shown)
        sources = [*own, *cruntime.sources(sorts=True)]
        compiler.run("linking", library, [*options, *_arguments(sources, work), *_LINK])


def program(network: Network, folder: Path, linker: str | None) -> None:
    """One static program."""
    compiler = c_compiler(network.target, linker, static_triple(network.target))
    with temporary_folder("export") as work:
        files.write_header(network, work)
        sources = [
            *files.write_network(network, work),
            *files.write_program(network, work),
            *cruntime.sources(sorts=True),
            *files.program_folder().glob("*.c"),
        ]
        arguments = ["-static", *_arguments(sources, work), *_LINK]
        compiler.run("linking", folder / network.name, arguments)


def source(network: Network, folder: Path, linker: str | None) -> None:
    """Everything as it is compiled. ``linker`` is not used: the user's own compiler does it."""
    files.write_header(network, folder)
    files.write_network(network, folder)
    files.write_program(network, folder)
    files.write_example(network, folder)
    files.copy_runtime(folder / "tvmcomp")
    reference = network.reference is not None
    (folder / "Makefile").write_text(makefile(network.name, reference))
    (folder / "CMakeLists.txt").write_text(cmake_lists(network.name, reference))


Form = Literal["static", "shared", "program", "source"]
FORMS: Mapping[Form, Callable[[Network, Path, str | None], None]] = {
    "static": static,
    "shared": shared,
    "program": program,
    "source": source,
}


def _library_folder(network: Network, folder: Path, form: Literal["static", "shared"]) -> Path:
    """``lib``, with all that goes beside a built library."""
    include, library, selftest = folder / "include", folder / "lib", folder / "selftest"
    package = library / "cmake" / network.name
    package.mkdir(parents=True)
    (package / f"{network.name}Config.cmake").write_text(cmake_package(network.name, form))
    files.copy_into(cruntime.include_folder().glob("*.h"), include)
    files.write_header(network, include)
    files.write_example(network, folder)
    files.copy_program(selftest)
    files.write_program(network, selftest)
    return library


def _archive(
    compiler: CCompiler, sources: Sequence[Path], path: Path, work: Path, *options: str
) -> None:
    objects = []
    for each in sources:
        if each.suffix == ".o":
            objects.append(each)
            continue
        made = work / f"{path.stem}_{each.stem}.o"
        compiler.run("compiling", made, ["-c", *options, *_arguments([each], work)])
        objects.append(made)
    archive(compiler.target, path, objects)


def _arguments(sources: Sequence[Path], work: Path) -> list[str]:
    folders = (work, cruntime.include_folder(), files.program_folder())
    return [*_FLAGS, *(f"-I{folder}" for folder in folders), *map(str, sources)]
