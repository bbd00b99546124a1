"""Convert a file to ONNX in a process of its own, with limits on its memory and time.

Reading a framework's file takes the framework: hundreds of megabytes, seconds, threads, and native
code that a damaged file may crash. None of that stays in the process that compiles, and torch and
TVM never meet. The process is started in an empty folder and finds the packages that this one
finds, but nothing of the current folder.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import onnx.checker

from tvmcomp import errors
from tvmcomp.errors import ModelError, TvmcompError
from tvmcomp.own_process import own_environment, own_module
from tvmcomp.temporary_folder import temporary_folder

#: Bytes that a conversion may take beside so many times the file's.
_MEMORY, _MEMORY_GROWTH = 6 << 30, 8
#: Seconds of the processor that it may take, beside those for each MiB of the file.
_SECONDS, _SECONDS_PER_MIB = 600, 2
_MODEL, _ANSWER = "model.onnx", "answer.json"
_LARGE = "The network is too large, or the file is damaged or hostile."


def convert(
    converter: str, path: Path, options: Mapping[str, Any] | None = None
) -> onnx.ModelProto:
    """Run ``convert(path, folder, **options)`` of the module ``converter`` in a new process.

    Args:
        converter: the module's name; its ``convert`` returns an ``onnx.ModelProto``, and may write
            to ``folder``.
        path: the model's file or folder.
        options: values that JSON can hold.

    Raises:
        TvmcompError: what the converter raised.
        ModelError: it crashed, took too much memory or time, or failed otherwise.
    """
    with temporary_folder("convert") as folder:
        request = {
            "converter": converter,
            "path": str(path.resolve()),
            "where": str(path),
            "options": dict(options or {}),
            "size": _size(path),
        }
        with (folder / "messages").open("wb") as messages:
            done = subprocess.run(
                own_module("tvmcomp.frontend.isolated"),
                input=json.dumps(request).encode(),
                stdout=messages,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=_environment(),
                check=False,
            )
        if done.returncode == 0:
            return onnx.load(folder / _MODEL)
        raise _failure(folder, path, done.returncode)


def _failure(folder: Path, path: Path, status: int) -> TvmcompError:
    """What became of a process that ended with ``status``."""
    answer = folder / _ANSWER
    if answer.exists():
        told = json.loads(answer.read_text(encoding="utf-8"))
        kind: type[TvmcompError] = getattr(errors, told["kind"])
        return kind(told["what"], where=told["where"], hint=told["hint"])
    with (folder / "messages").open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 2000))
        said = file.read().decode("utf-8", "replace").strip().split("\n")[-1][:300]
    ended = f"signal {-status}" if status < 0 else f"status {status}"
    return ModelError(
        f"its conversion ended with {ended}{f': {said}' if said else ''}",
        where=str(path),
        hint=_LARGE,
    )


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size


def _environment() -> dict[str, str]:
    return {
        **own_environment(),
        "CUDA_VISIBLE_DEVICES": "",  # A conversion is no work for a GPU.
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }


def _limit(size: int) -> None:
    """Limit this process, for a file of ``size`` bytes."""
    memory = _MEMORY + _MEMORY_GROWTH * size
    seconds = _SECONDS + _SECONDS_PER_MIB * (size >> 20)
    wanted = {
        resource.RLIMIT_DATA: memory,
        resource.RLIMIT_FSIZE: memory,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in wanted.items():
        hard = resource.getrlimit(kind)[1]
        least = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (least, least))


def _main() -> int:
    """Answer the request on standard input; the exit status."""
    request = json.load(sys.stdin)
    _limit(request["size"])
    try:
        module = importlib.import_module(request["converter"])
        model = module.convert(Path(request["path"]), Path.cwd(), **request["options"])
        if model.ByteSize() > onnx.checker.MAXIMUM_PROTOBUF:
            raise ModelError("gives an ONNX model larger than 2 GiB")
        onnx.save_model(model, _MODEL)
    except TvmcompError as error:
        told = {
            "kind": type(error).__name__,
            "what": error.what,
            "where": error.where or request["where"],
            "hint": error.hint,
        }
    except MemoryError:
        told = {
            "kind": "ModelError",
            "what": "its conversion takes too much memory",
            "where": request["where"],
            "hint": _LARGE,
        }
    else:
        return 0
    Path(_ANSWER).write_text(json.dumps(told), encoding="utf-8")
    return 1


if __name__ == "__main__":
    sys.exit(_main())
