"""PyTorch: modules, exported programs and .pt2 files become ONNX. torch is imported here only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def convert(path: Path) -> onnx.ModelProto:
    """Turn the exported program in the .pt2 file ``path`` into ONNX.

    It runs in a process of its own, which reads the file as :mod:`tvmcomp.frontend.torch.archive`
    says: nothing in it is unpickled or evaluated.

    Raises:
        ModelError: the file is damaged, of an older torch, holds more than tensors and operators,
            or an operator that torch's exporter does not know.
    """
    from tvmcomp.frontend import isolated

    return isolated.convert("tvmcomp.frontend.torch.pt2", path)
