"""A network in memory as ONNX. No framework is imported: one that made the network is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from tvmcomp.errors import ConfigError

if TYPE_CHECKING:
    import keras
    import onnx
    import torch

#: A network that a program made or loaded.
InMemory: TypeAlias = (
    "onnx.ModelProto | torch.nn.Module | torch.export.ExportedProgram | keras.Model"
)


def to_onnx(
    source: InMemory,
    example_inputs: Any = None,
    dynamic_shapes: Any = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> onnx.ModelProto:
    """Turn a network in memory into ONNX; an ONNX model stays as it is.

    Args:
        source: the network; it is not changed.
        example_inputs: what a PyTorch module is called with.
        dynamic_shapes: which of its dimensions stay open.
        shapes: full shapes of a Keras model's inputs, by name.

    Raises:
        ConfigError: ``source`` is no network, or example inputs are missing.
        ModelError: it can't be exported.
    """
    if _is(source, "onnx", "ModelProto"):
        return source
    # On Keras's torch backend it is a torch.nn.Module as well.
    if _is(source, "keras", "Model"):
        from tvmcomp.frontend.keras.files import model_to_onnx

        return model_to_onnx(source, shapes or {}, where="the Keras model")
    if _is(source, "torch", "Module", "ExportedProgram"):
        from tvmcomp.frontend.torch.export import torch_to_onnx

        return torch_to_onnx(source, example_inputs, dynamic_shapes)
    raise ConfigError(
        f"the model is a {type(source).__name__}",
        hint="Give the path of a model file, an onnx.ModelProto, a torch.nn.Module with "
        "example_inputs, a torch.export.ExportedProgram, or a keras.Model.",
    )


def _is(source: Any, package: str, *names: str) -> bool:
    """Whether ``source`` is of a class of one of these names that ``package`` defines."""
    return any(
        kind.__module__.partition(".")[0] == package and kind.__name__ in names
        for kind in type(source).__mro__
    )
