"""Programs made of the C runtime and a network by hand, as different compilers make them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from needed import missing

from tvmcomp.codegen import cruntime

HERE = Path(__file__).parent
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")


@dataclass(frozen=True)
class Variant:
    """One way to compile.

    Attributes:
        name: what the test is called by.
        flags: for the compiler.
        triple: zig's; "" for the system's gcc or clang.
    """

    name: str
    flags: tuple[str, ...] = ()
    triple: str = ""

    def compiler(self) -> list[str]:
        """The command; without one, the test is skipped."""
        if self.triple:
            return [sys.executable, "-m", "ziglang", "cc", "-target", self.triple]
        found = shutil.which("gcc") or shutil.which("clang")
        return [found] if found else missing("this machine has neither gcc nor clang")

    def build(self, sources: list[Path], output: Path, *more: str) -> Path:
        """Compile and link ``sources``, without a warning.

        zig's cache is shared between tests; the first link for a triple builds its libraries.
        """
        include = f"-I{cruntime.include_folder()}"
        command = [*self.compiler(), "-std=c11", "-g", *WARNINGS, include, *self.flags, *more]
        threads = () if "-DTVMCOMP_WITHOUT_THREADS" in self.flags else ("-pthread",)
        done = subprocess.run(
            [*command, *map(str, sources), *threads, "-o", str(output)],
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == 0 and not done.stderr, done.stderr
        return output

    def program(self, check: str, folder: Path) -> Path:
        """The program ``check``.c, with the network and the runtime."""
        sources = [HERE / f"{check}.c", HERE / "network.c", *cruntime.sources(sorts=True)]
        return self.build(sources, folder / f"{check}-{self.name}")


GCC = Variant("gcc", ("-O2",))
#: Out-of-bounds accesses, leaks, undefined behaviour.
ADDRESSES = Variant("addresses", ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover"))
#: Data races.
RACES = Variant("races", ("-O1", "-fsanitize=thread"))
ZIG = Variant("zig", ("-O2",), "x86_64-linux-gnu.2.28")
MUSL = Variant("musl", ("-O2", "-static"), "x86_64-linux-musl")
AARCH64 = Variant("aarch64", ("-O2", "-static"), "aarch64-linux-musl")
ARMV7 = Variant("armv7", ("-O2", "-static"), "arm-linux-musleabihf")
RISCV64 = Variant("riscv64", ("-O2", "-static"), "riscv64-linux-musl")
THREADLESS = Variant("threadless", ("-O1", "-DTVMCOMP_WITHOUT_THREADS"))


def run(program: Path, check: str, *before: str, more: tuple[str, ...] = ()) -> None:
    """Run one check of a program, under the command ``before``; ``more`` are further arguments.

    gcc's ThreadSanitizer knows no addresses as random as newer kernels make them.
    """
    steady = [setarch, "-R"] if (setarch := shutil.which("setarch")) and not before else []
    options = "allocator_may_return_null=1:halt_on_error=1"
    environment = {**os.environ, "ASAN_OPTIONS": options, "TSAN_OPTIONS": options}
    done = subprocess.run(
        [*steady, *before, str(program), check, *more],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr or f"it ended with {done.returncode}"
