"""A module, or an exported program, to ONNX by torch's own exporter."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import onnx

from tvmcomp.errors import ConfigError, ModelError
from tvmcomp.frontend.torch import integer_product, rnn
from tvmcomp.frontend.torch.names import name_by_modules

if TYPE_CHECKING:
    import torch

#: What a module in memory is called in errors.
_IN_MEMORY = "the PyTorch module"


def torch_to_onnx(
    source: torch.nn.Module | torch.export.ExportedProgram,
    example_inputs: Sequence[Any] | Mapping[str, Any] | None = None,
    dynamic_shapes: Any = None,
    layers: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Turn a module or an exported program into ONNX.

    Args:
        source: it stays as it is; a module is exported in evaluation mode.
        example_inputs: the arguments of one call, in a tuple, or by name in a dict; one tensor is
            one argument. An exported program needs none.
        dynamic_shapes: as of ``torch.export.export``, where a text too may name a dimension:
            those that stay open, to be bound by ``shapes``.
        layers: other names for parts of the module, by their own.

    Raises:
        ConfigError: a module came without example inputs.
        ModelError: it is TorchScript, or can't be exported; with torch's reason.
    """
    import torch

    if isinstance(source, torch.export.ExportedProgram):
        return program_to_onnx(source, where="the exported program")
    if isinstance(source, torch.jit.ScriptModule):
        raise ModelError(
            "is TorchScript, which can't be exported",
            where=_IN_MEMORY,
            hint="Give the module that it was made of.",
        )
    if example_inputs is None:
        raise ConfigError(
            "a PyTorch module can't be compiled without example inputs",
            hint="Give example_inputs=(tensor, …): what its forward is called with.",
        )
    if isinstance(example_inputs, torch.Tensor):
        example_inputs = (example_inputs,)
    positional, named = (
        ((), dict(example_inputs))
        if isinstance(example_inputs, Mapping)
        else (tuple(example_inputs), {})
    )
    with _evaluating(source), torch.no_grad(), _quietly():
        try:
            program = torch.export.export(
                source,
                positional,
                named,
                dynamic_shapes=_with_dims(dynamic_shapes),
                strict=False,
            )
        # torch raises of every kind, for what the module does.
        except Exception as error:
            raise ModelError(
                f"can't be exported by torch {torch.__version__}: {first_line(error)}",
                where=_IN_MEMORY,
                hint="See that torch.export.export(module, example_inputs) succeeds.",
            ) from error
    return program_to_onnx(program, where=_IN_MEMORY, dynamic_shapes=dynamic_shapes, layers=layers)


def program_to_onnx(
    program: torch.export.ExportedProgram,
    *,
    where: str,
    dynamic_shapes: Any = None,
    layers: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Turn an exported program into ONNX; nodes are named by the modules that they come from.

    Args:
        program: of operators that torch's exporter knows.
        where: what to call it in errors.
        dynamic_shapes: names the open dimensions.
        layers: other names for modules.

    Raises:
        ModelError: an operator has no ONNX, or it is larger than 2 GiB.
    """
    import torch

    with torch.no_grad(), _quietly():
        try:
            made = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=list(program.graph_signature.user_inputs),
                dynamic_shapes=dynamic_shapes,
                custom_translation_table={**rnn.translations(), **integer_product.translations()},
            )
            assert made is not None
            model = made.model_proto
        # torch raises of every kind, for what the program holds.
        except Exception as error:
            raise ModelError(
                f"can't be turned into ONNX by torch {torch.__version__}: {first_line(error)}",
                where=where,
                hint="Export the module without these operators, or compute this part outside it.",
            ) from error
    name_by_modules(model.graph, layers or {})
    return model


def _with_dims(dynamic_shapes: Any) -> Any:
    """``dynamic_shapes`` as ``torch.export.export`` takes them, which knows no names."""
    import torch
    from torch.utils import _pytree

    return _pytree.tree_map(
        lambda size: torch.export.Dim.DYNAMIC if isinstance(size, str) else size, dynamic_shapes
    )


@contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Let every part of ``module`` be in evaluation mode meanwhile."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        for part, _ in modes:
            part.training = False  # Exported modules have no eval().
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def _quietly() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def first_line(error: BaseException) -> str:
    """What ``error``, or what caused it, says in its first line of substance."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    line = next((line.strip() for line in text.split("\n") if line.strip()), "")
    return f"{type(error).__name__}: {line[:300]}"
