"""What a training has come to, in a file that it goes on from after it was killed.

A file of safetensors (https://github.com/huggingface/safetensors: a JSON header and plain numbers,
nothing is unpickled), whose header also holds:

    run       digest of all that decides the run: networks, samples, options
    state     the numbers beside the tensors, as JSON
    content   SHA-256 of the state and of the tensors, by name

It is written beside its place and then renamed, so there is the one before or this one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from tvmcomp.compress.operators.table import Tensor
from tvmcomp.errors import ArtifactError
from tvmcomp.replaced_file import replaced_file

#: Of a header: a name, a type, a shape and offsets for each tensor.
_HEADER_BYTES = 1 << 20
_HEADER_BYTES_A_TENSOR = 1 << 10


class Unusable(Exception):
    """A file is no checkpoint of this run; the message says why."""


def save_checkpoint(path: Path, run: str, tensors: Mapping[str, Tensor], state: str) -> None:
    """Write a checkpoint.

    Args:
        path: its place.
        run: the run's digest.
        tensors: by name.
        state: JSON.

    Raises:
        ArtifactError: it can't be written there; what was there before is left as it was.
    """
    plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    header = {"run": run, "state": state, "content": _digest(plain, state)}
    try:
        with replaced_file(path) as temporary:
            safetensors.torch.save_file(plain, temporary, header)
    except (OSError, safetensors.SafetensorError) as error:
        raise ArtifactError(
            f"the checkpoint can't be written: {error}",
            where=str(path),
            hint="Make room, or give it another place.",
        ) from error


def load_checkpoint(
    path: Path, run: str, like: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], str]:
    """The tensors and the JSON of a checkpoint.

    Args:
        path: its place.
        run: the digest of the run that it has to be of.
        like: tensors of the names, shapes and types that it has to hold.

    Raises:
        Unusable: it is of another run, or damaged.
    """
    expected = sum(tensor.numel() * tensor.element_size() for tensor in like.values())
    room = _HEADER_BYTES + _HEADER_BYTES_A_TENSOR * len(like)
    try:
        size = path.stat().st_size
        if not expected <= size <= expected + room:
            raise Unusable("it is of another run, or not whole")
        with safetensors.safe_open(path, "pt") as file:
            header = file.metadata() or {}
            if header.get("run") != run:
                raise Unusable("it is of another run: of other samples, options or networks")
            if set(file.keys()) != set(like):
                raise Unusable("it holds other tensors")
            tensors = {name: file.get_tensor(name) for name in like}
    except (OSError, safetensors.SafetensorError, ValueError) as error:
        raise Unusable(f"it can't be read: {error}") from error
    for name, tensor in tensors.items():
        if (tensor.shape, tensor.dtype) != (like[name].shape, like[name].dtype):
            raise Unusable(f"its tensor {name!r} has another shape or type")
    state = header.get("state", "")
    if _digest(tensors, state) != header.get("content"):
        raise Unusable("it is damaged")
    return tensors, state


def _digest(tensors: Mapping[str, Tensor], state: str) -> str:
    digest = hashlib.sha256(state.encode())
    for name in sorted(tensors):
        digest.update(name.encode() + b"\0")
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
