"""Frontends: a trained network's file becomes a float Relax :class:`~tvmcomp.model.Model`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from tvmcomp import arguments
from tvmcomp.errors import ConfigError
from tvmcomp.frontend.binding import Binding
from tvmcomp.model import Model

if TYPE_CHECKING:
    from tvmcomp.frontend.in_memory import InMemory

__all__ = ["ModelSource", "load_model"]

#: A model file, a SavedModel folder, or a network in memory.
ModelSource: TypeAlias = "str | bytes | os.PathLike[str] | InMemory"


def load_model(
    source: ModelSource,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    *,
    dims: Mapping[str, int] | None = None,
    fixed: Mapping[str, Any] | None = None,
    for_quantization: bool = False,
    example_inputs: Any = None,
    dynamic_shapes: Any = None,
    signature: str | None = None,
) -> Model:
    """Import the network in ``source`` into Relax.

    Args:
        source: the model file or SavedModel folder, of any format that
            :mod:`tvmcomp.frontend.formats` tells; or a network in memory, which stays as it is:
            an ``onnx.ModelProto``, a ``torch.nn.Module`` or ``torch.export.ExportedProgram``, a
            ``keras.Model``.
        shapes: full shapes of inputs, by name; needed for each input with a dynamic dimension
            that ``dims`` doesn't give.
        dims: sizes of dimensions that the model has names for: ``{"batch": 1}``.
        fixed: values of inputs that become constants: ``{"sr": 16000}``.
        for_quantization: import float64 as float32, which is what can be quantized; the inputs
            and outputs keep their types. float16 and bfloat16 are computed in float32 anyhow.
        example_inputs: what a PyTorch module's forward is called with; see
            :func:`tvmcomp.frontend.torch.export.torch_to_onnx`.
        dynamic_shapes: which of a PyTorch module's dimensions stay open, as of
            ``torch.export.export``.
        signature: which of a SavedModel's signatures, where it has several.

    Raises:
        ConfigError: ``source`` is none of them, or ``shapes`` holds no shapes, or ones of what
            is ``fixed``.
        ModelError: the file can't be read, a shape is missing or contradicts the model, or the
            model holds operators that can't be compiled.
    """
    bound = arguments.shapes(shapes)
    binding = Binding(bound, arguments.dims(dims), arguments.fixed(fixed))
    if twice := sorted(bound.keys() & binding.fixed.keys()):
        raise ConfigError(
            f"input {twice[0]!r} is given a shape and a value",
            hint="Leave out its shape: the value has one.",
        )
    if not isinstance(source, str | bytes | os.PathLike):
        from tvmcomp.frontend.in_memory import to_onnx
        from tvmcomp.frontend.onnx.load import load_proto

        model = to_onnx(source, example_inputs, dynamic_shapes, bound)
        return load_proto(model, binding, for_quantization=for_quantization)
    path = arguments.path(source, "the model's path")
    # Imported late: TVM and onnx take a second that `--help` need not pay.
    from tvmcomp.frontend.onnx.load import load_checked
    from tvmcomp.frontend.source import read_model

    model, digest = read_model(path, signature=signature, shapes=bound)
    return load_checked(model, path, digest, binding, for_quantization=for_quantization)
