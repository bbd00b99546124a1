"""``--dump DIR``: write what every phase gives, TVMScript or C, for a person to look at."""

from __future__ import annotations

from pathlib import Path

from tvmcomp.errors import ConfigError
from tvmcomp.tvm_types import Module


class Dump:
    """Writes ``00_imported.py``, ``01_channels_last.py`` … ``39_driver.c`` into a folder; for a GPU
    its kernels at last, as source and as what the compiler made of it.

    Raises:
        ConfigError: the folder can't be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"can't make the folder: {error.strerror}", where=str(folder)
            ) from None

    def __call__(self, phase: str, mod: Module | str | bytes) -> None:
        """Write a module, as it is after ``phase``, or what ``phase`` wrote: source of C, or what
        its own ending says.

        Weights are named, not printed.
        """
        if isinstance(mod, str | bytes):
            content, name = mod, phase if "." in phase else f"{phase}.c"
        else:
            content, name = mod.script(show_meta=False), f"{phase}.py"
        path = self.folder / f"{self.count:02}_{name}"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.count += 1
