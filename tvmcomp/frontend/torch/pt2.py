"""A .pt2 file to ONNX, in the process that :mod:`tvmcomp.frontend.isolated` starts."""

from __future__ import annotations

import contextlib
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from tvmcomp.errors import ModelError
from tvmcomp.frontend.torch.archive import only_data
from tvmcomp.frontend.torch.export import first_line, program_to_onnx

if TYPE_CHECKING:
    import onnx

#: Modules that define operators that a program may hold, where they are installed.
_OPERATORS = (
    "torch.ao.quantization.fx._decomposed",
    "torchao.quantization.pt2e",
    "torchvision.ops",
)


def convert(path: Path, folder: Path, *, where: str = "") -> onnx.ModelProto:
    """Turn the program in ``path`` into ONNX.

    Args:
        path: the .pt2 file.
        folder: where to write what torch reads.
        where: names the file in errors.

    Raises:
        ModelError: as :func:`tvmcomp.frontend.torch.convert` says.
    """
    where = where or str(path)
    data = folder / "data.pt2"
    only_data(path, data, where=where)

    import torch

    # What torch.export.load calls; that hides errors, and goes on to read older formats.
    from torch.export.pt2_archive._package import load_pt2

    torch.set_num_threads(1)
    for module in _OPERATORS:
        # One that is there for another version of torch fails in ways of its own.
        with contextlib.suppress(Exception):
            importlib.import_module(module)
    try:
        program = load_pt2(str(data)).exported_programs["model"]
    # It is torch's own judgement of the file: whatever it raises speaks of the file.
    except Exception as error:
        raise ModelError(
            f"can't be loaded by torch {torch.__version__}: {first_line(error)}",
            where=where,
            hint="Export it again with this version of torch, or install the one it was saved by.",
        ) from error
    return program_to_onnx(program, where=where)
