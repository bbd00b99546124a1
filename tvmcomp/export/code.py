"""A network's compiled code under another name, as archives need it."""

from __future__ import annotations

import re

from tvmcomp.export.object_symbols import with_prefix, with_weak_open

#: What the network is called in the code of every artifact.
CODE_NAME = "network"

#: What kernels call of the runtime: LLVM code of TVM defines a weak variable for each.
_IMPORTS = "__TVM"


def renamed(kernels: bytes, driver: str, new: str, old: str = CODE_NAME) -> tuple[bytes, str]:
    """The object file and the driver of the network ``old`` as those of the network ``new``.

    What the kernels call of the runtime becomes undefined, so that it is found in an archive.

    Args:
        kernels: an object file with the kernels ``old_k0``, ``old_k1``, …, ``old_shape1_k0``, …
        driver: the C source that calls them and defines ``old_network``.
        new: another identifier of C.
        old: the name that they were made with.
    """
    shared = re.compile(rf"\b{re.escape(old)}_((?:shape\d+_)?(?:k\d+|network)|constants)\b")
    text = shared.sub(lambda found: f"{new}_{found[1]}", driver)
    text = text.replace(f"/* {old}: ", f"/* {new}: ", 1)
    text = re.sub(rf'\.name = "{re.escape(old)}(\w*)"', rf'.name = "{new}\1"', text)
    return with_weak_open(with_prefix(kernels, f"{old}_", f"{new}_"), _IMPORTS), text


def workspace_of(driver: str) -> int:
    """Bytes that a context of the network takes, as its driver says."""
    found = re.search(r"^    \.workspace = (\d+)", driver, re.MULTILINE)
    return int(found[1]) if found else 0
