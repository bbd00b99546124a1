"""Files of NVIDIA's packages on PyPI: CUDA 13's all lie in one folder, `nvidia/cu13`."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def nvidia_file(name: str) -> Path | None:
    """A file or folder of theirs (``lib/libnvrtc.so.13``, ``include``), None where it is not
    installed.
    """
    try:
        package = importlib.util.find_spec("nvidia.cu13")
    except ModuleNotFoundError:  # nothing of NVIDIA's at all
        return None
    for folder in (package.submodule_search_locations or ()) if package else ():
        path = Path(folder, name)
        if path.exists():
            return path
    return None
