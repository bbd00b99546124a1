"""A static program of several networks of one kernel each: ``cruntime/race/race.c`` runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tvmcomp.artifact.code import Code
from tvmcomp.codegen import cruntime
from tvmcomp.codegen.native.imports import calls_by_name
from tvmcomp.codegen.toolchain import c_compiler, static_triple
from tvmcomp.targets import TargetDescription
from tvmcomp.temporary_folder import temporary_folder

_OPTIONS = (*cruntime.FLAGS, "-static", "-pthread", "-Wl,--gc-sections", "-Wl,-z,defs")


def link_race(
    codes: Mapping[str, Code],
    order: Sequence[str],
    target: TargetDescription,
    output: Path,
    linker: str | None = None,
) -> None:
    """Link it.

    Args:
        codes: of the networks, by their names in C; all take the same tensors.
        order: whose turns follow each other; one may have several.
        target: the device.
        output: the file to write.
        linker: the command line of a C compiler, None for the target's own.

    Raises:
        ToolError: the linker is missing or failed, or there is no room for its files.
    """
    compiler = c_compiler(target, linker, static_triple(target))
    sorts = any(calls_by_name(code.kernels) for code in codes.values())
    with temporary_folder("link") as folder:
        files = [folder / "racers.c"]
        files[0].write_text(_racers(order))
        for name, code in codes.items():
            files += [folder / f"{name}.c", folder / f"{name}.o"]
            files[-2].write_text(code.driver, encoding="utf-8")
            files[-1].write_bytes(code.kernels)
        files += [*cruntime.sources(sorts=sorts), cruntime.race_source()]
        options = [*_OPTIONS, f"-I{cruntime.include_folder()}", *map(str, files), "-lm"]
        compiler.run("linking", output, options)


def _racers(order: Sequence[str]) -> str:
    networks = [f"{name}_network" for name in order]
    declared = ", ".join(dict.fromkeys(networks))
    return f"""\
#include "tvmcomp.h"

extern const tvmcomp_network {declared};
extern const tvmcomp_network *const tvmcomp_racers[];
extern const int32_t tvmcomp_num_racers;
const tvmcomp_network *const tvmcomp_racers[] = {{{", ".join(f"&{n}" for n in networks)}}};
const int32_t tvmcomp_num_racers = {len(networks)};
"""
