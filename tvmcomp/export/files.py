"""The C files of one network, written to a folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from tvmcomp.codegen import cruntime
from tvmcomp.export.data import assembler
from tvmcomp.export.example import example
from tvmcomp.export.interface import api_source, header
from tvmcomp.export.network import Network
from tvmcomp.export.selftest import program_source


def write_header(network: Network, folder: Path) -> None:
    """``NAME.h``."""
    (folder / f"{network.name}.h").write_text(header(network), encoding="utf-8")


def write_network(network: Network, folder: Path) -> list[Path]:
    """What makes up the network: its functions, driver, kernels and weights.

    Returns:
        The files that are compiled or linked; ``NAME.h`` and ``tvmcomp.h`` must be found.
    """
    name = network.name
    text, weights = api_source(network)
    api, driver = folder / f"{name}_api.c", folder / f"{name}_driver.c"
    kernels = folder / f"{name}_kernels.o"
    api.write_text(text, encoding="utf-8")
    driver.write_text(network.driver, encoding="utf-8")
    kernels.write_bytes(network.kernels)
    return [api, driver, kernels, _write_data(folder, f"{name}_weights", weights)]


def write_program(network: Network, folder: Path) -> list[Path]:
    """What the program of a network is compiled from, beside ``cruntime/program``."""
    text, data = program_source(network)
    source = folder / f"{network.name}_program.c"
    source.write_text(text, encoding="utf-8")
    if not data:
        return [source]
    return [source, _write_data(folder, f"{network.name}_reference", data)]


def write_example(network: Network, folder: Path) -> None:
    """``example.c``."""
    (folder / "example.c").write_text(example(network), encoding="utf-8")


def copy_into(files: Iterable[Path], folder: Path) -> None:
    """Copies of files, made with the folder that they go to."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copyfile(file, folder / file.name)


def copy_runtime(folder: Path) -> None:
    """The runtime's sources, its header in ``include/``, the program's in ``program/``."""
    copy_into([*cruntime.sources(sorts=True), *cruntime.folder().glob("*.h")], folder)
    copy_into(cruntime.include_folder().glob("*.h"), folder / "include")
    copy_program(folder / "program")


def copy_program(folder: Path) -> None:
    """The sources of ``cruntime/program``."""
    copy_into([*program_folder().glob("*.c"), *program_folder().glob("*.h")], folder)


def program_folder() -> Path:
    """Where the sources of every network's program are."""
    return cruntime.folder() / "program"


def _write_data(folder: Path, symbol: str, data: bytes) -> Path:
    (folder / f"{symbol}.bin").write_bytes(data)
    source = folder / f"{symbol}.S"
    source.write_text(assembler(symbol, f"{symbol}.bin", data), encoding="utf-8")
    return source
