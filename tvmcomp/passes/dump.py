"""``--dump DIR``: write the module after every phase as TVMScript, for a person to look at."""

from __future__ import annotations

from pathlib import Path

from tvmcomp.errors import ConfigError
from tvmcomp.tvm_types import Module


class Dump:
    """Writes ``00_imported.py``, ``01_channels_last.py`` … into a folder.

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

    def __call__(self, phase: str, mod: Module) -> None:
        """Write ``mod``, as it is after ``phase``; weights are named, not printed."""
        path = self.folder / f"{self.count:02}_{phase}.py"
        path.write_text(mod.script(show_meta=False), encoding="utf-8")
        self.count += 1
