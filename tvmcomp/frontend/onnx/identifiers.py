"""The names of an imported module: identifiers, each once."""

from __future__ import annotations

import re


class Identifiers:
    """The names that are taken: TVM calls the network itself `main`."""

    def __init__(self) -> None:
        self.taken: set[str] = {"main"}

    def unique(self, name: str) -> str:
        """Take ``name``, a node's or a tensor's, as an identifier with no ``__`` in it."""
        base = re.sub(r"_+", "_", re.sub(r"\W", "_", name, flags=re.ASCII)).strip("_") or "node"
        if base[0].isdigit():
            base = f"n{base}"
        found, count = base, 1
        while found in self.taken:
            found, count = f"{base}_{count}", count + 1
        self.taken.add(found)
        return found
