"""Write an ONNX model to a file, and to two where it is larger than one can be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tvmcomp.replaced_file import replaced_file

if TYPE_CHECKING:
    import onnx

#: Smaller tensors stay in the model's own file.
_EXTERNAL_BYTES = 1024


def write_onnx(model: onnx.ModelProto, path: Path) -> None:
    """Write ``model`` to ``path``, which is replaced as a whole.

    What is larger than 2 GiB keeps its weights in a file beside it, called ``<path>.data``.

    Raises:
        OSError: it can't be written.
    """
    import onnx.checker

    if model.ByteSize() < onnx.checker.MAXIMUM_PROTOBUF:
        with replaced_file(path) as temporary:
            temporary.write_bytes(model.SerializeToString(deterministic=True))
        return
    data = path.with_name(f"{path.name}.data")
    own = onnx.ModelProto()
    own.CopyFrom(model)
    # The weights first: a model is never there without them.
    with replaced_file(data) as temporary, temporary.open("wb") as file:
        for tensor in own.graph.initializer:
            raw = tensor.raw_data
            if len(raw) < _EXTERNAL_BYTES:
                continue
            for key, value in (
                ("location", data.name),
                ("offset", file.tell()),
                ("length", len(raw)),
            ):
                tensor.external_data.add(key=key, value=str(value))
            file.write(raw)
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.ClearField("raw_data")
    with replaced_file(path) as temporary:
        temporary.write_bytes(own.SerializeToString(deterministic=True))
