"""A .pt2 archive made anew, of what in it is only data.

``torch.export.load`` is no safe reader (torch 2.13; its documentation says so): it unpickles the
sample inputs, pickled weights (``use_pickle`` in their list), custom objects and all of archives
older than torch 2.9, falling back to ``weights_only=False``; it loads the native libraries of
compiled models; and the program itself names functions by paths, holds expressions that are
evaluated as Python, and names that are written into generated code. So it is given an archive that
holds nothing but the raw bytes of tensors, their list, and the program as
:mod:`tvmcomp.frontend.torch.program` lets it through. All else is refused, or left out where it
computes nothing (sample inputs, extra files).
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tvmcomp.errors import ModelError
from tvmcomp.frontend import zip_checks
from tvmcomp.frontend.torch.program import checked_payloads, checked_program

_SAVE = "torch.export.save(torch.export.export(module, example_inputs), 'model.pt2')"
_AGAIN = (
    "In Python that may run it, load it with torch.export.load and save it with "
    "torch.export.save of torch 2.9 or newer; or export it again."
)
#: Bytes of the program's JSON and of each list.
_LARGEST_JSON = 512 << 20


def only_data(path: Path, destination: Path, *, where: str) -> None:
    """Write the exported program of the .pt2 file ``path`` to ``destination``, without any code.

    Args:
        path: the archive.
        destination: where to write an archive that ``torch.export.load`` reads.
        where: names the file in errors.

    Raises:
        ModelError: it is damaged, or can't be loaded without running what is in it.
    """
    listed = zip_checks.members(path, where=where)
    # Everything lies in one folder, of any name.
    found = {member.filename.partition("/")[2]: member for member in listed}
    if any(member.filename == "serialized_exported_program.json" for member in listed):
        raise ModelError(
            "was saved by torch 2.7 or older, which pickled the weights", where=where, hint=_AGAIN
        )
    if any(name.startswith("data/aotinductor/") for name in found):
        raise ModelError(
            "holds a network that is compiled already (AOTInductor)",
            where=where,
            hint=f"Give the exported program: {_SAVE}.",
        )
    model = _only_model(found, where)
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(destination, "w") as made:

        def document(name: str) -> Any:
            if name not in found:
                raise ModelError(
                    f"lacks {name!r}: it is truncated, or was saved by torch 2.8 or older, which "
                    "pickled the weights",
                    where=where,
                    hint=_AGAIN,
                )
            return _json(archive, found[name], where)

        program = checked_program(document(f"models/{model}.json"), where=where)
        written = {
            "archive_format": b"pt2",
            "archive_version": zip_checks.read(archive, found["archive_version"], where=where)
            if "archive_version" in found
            else b"0",
            "byteorder": b"little",
            ".data/version": b"6\n",  # of the archive around it
            "models/model.json": json.dumps(program).encode(),
            "data/sample_inputs/model.pt": b"",
        }
        for kind in ("weights", "constants"):
            config = document(f"data/{kind}/{model}_{kind}_config.json")
            payloads = checked_payloads(config, where=where)
            written[f"data/{kind}/model_{kind}_config.json"] = json.dumps(payloads).encode()
            for name in sorted({entry["path_name"] for entry in payloads["config"].values()}):
                _copy(archive, made, f"data/{kind}/{name}", found, where)
        if "byteorder" in found and zip_checks.read(archive, found["byteorder"], where=where) != (
            b"little"
        ):
            raise ModelError("was saved on a big-endian machine", where=where, hint=_AGAIN)
        for name, content in written.items():
            made.writestr(f"model/{name}", content)


def _only_model(found: Mapping[str, zipfile.ZipInfo], where: str) -> str:
    models = [
        name.removeprefix("models/").removesuffix(".json")
        for name in found
        if name.startswith("models/")
    ]
    if len(models) != 1:
        raise ModelError(
            f"holds {len(models)} exported programs" if models else "holds no exported program",
            where=where,
            hint=f"Save one of them alone: {_SAVE}.",
        )
    return models[0]


def _json(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> Any:
    if member.file_size > _LARGEST_JSON:
        raise ModelError(
            f"member {member.filename!r} takes {member.file_size:,} bytes", where=where
        )
    try:
        return json.loads(zip_checks.read(archive, member, where=where))
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"member {member.filename!r} is not JSON: {error}", where=where, hint=_AGAIN
        ) from error


def _copy(
    archive: zipfile.ZipFile,
    made: zipfile.ZipFile,
    name: str,
    found: Mapping[str, zipfile.ZipInfo],
    where: str,
) -> None:
    """Copy a tensor's bytes."""
    if name not in found:
        raise ModelError(f"lacks {name!r}", where=where, hint=_AGAIN)
    try:
        with (
            archive.open(found[name]) as source,
            made.open(f"model/{name}", "w", force_zip64=True) as target,
        ):
            shutil.copyfileobj(source, target, 1 << 20)
    # zipfile and what it unpacks with raise of every kind.
    except Exception as error:
        raise ModelError(
            f"member {name!r} is damaged: {error}", where=where, hint=_AGAIN
        ) from error
