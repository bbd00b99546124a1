"""A SavedModel to ONNX, in the process that :mod:`tvmcomp.frontend.isolated` starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvmcomp.errors import ModelError
from tvmcomp.frontend.keras.graph_checks import check

if TYPE_CHECKING:
    import onnx

_HINT = "The folder is damaged or incomplete; export the model again."
#: What Keras 3 calls the same function a second time, and the name that serving asks for.
_ALIAS, _DEFAULT = "serve", "serving_default"
_INITIAL = "__saved_model_init_op"


def convert(
    path: Path, folder: Path, *, signature: str | None = None, where: str = ""
) -> onnx.ModelProto:
    """Turn a signature of the SavedModel in ``path`` into ONNX.

    Args:
        path: the folder.
        folder: where to write; not used.
        signature: its name, where there are several.
        where: names the folder in errors.

    Raises:
        ModelError: as :func:`tvmcomp.frontend.keras.convert` says.
    """
    where = where or str(path)
    _check_files(path, where)
    meta_graph = _meta_graph(path, where)
    chosen = _signature(meta_graph.signature_def, signature, where)
    check(meta_graph, chosen, where=where)
    from tvmcomp.frontend.keras.through_tensorflow import signature_to_onnx

    tags = list(meta_graph.meta_info_def.tags)
    return signature_to_onnx(str(path), tags, chosen, where=where)


def _check_files(path: Path, where: str) -> None:
    """Refuse a folder with a link that leads out of it, or to itself."""
    for entry in path.rglob("*"):
        try:
            place = entry.resolve()
        except (OSError, RuntimeError) as error:
            raise ModelError(
                f"holds a link that leads nowhere: {entry.name!r}", where=where, hint=_HINT
            ) from error
        if not place.is_relative_to(path.resolve()):
            raise ModelError(
                f"holds a link out of the folder: {entry.name!r}",
                where=where,
                hint="Copy the file that it leads to into the folder.",
            )


def _meta_graph(path: Path, where: str) -> Any:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString((path / "saved_model.pb").read_bytes())
    except (OSError, DecodeError) as error:
        raise ModelError(
            f"its saved_model.pb can't be read: {error}", where=where, hint=_HINT
        ) from error
    serving = [graph for graph in model.meta_graphs if "serve" in graph.meta_info_def.tags]
    found = serving or list(model.meta_graphs)
    if len(found) != 1:
        raise ModelError(f"holds {len(found)} graphs to serve", where=where, hint=_HINT)
    return found[0]


def _signature(signatures: Mapping[str, Any], wanted: str | None, where: str) -> str:
    """The signature to convert: the wanted one, or the only one."""
    names = sorted(name for name in signatures if name != _INITIAL and signatures[name].outputs)
    if wanted is not None:
        if wanted in names:
            return wanted
        raise ModelError(
            f"has no signature {wanted!r}",
            where=where,
            hint=f"It has {', '.join(names) or 'none'}.",
        )
    if _ALIAS in names and _DEFAULT in names and _same(signatures[_ALIAS], signatures[_DEFAULT]):
        names.remove(_ALIAS)
    if len(names) == 1:
        return names[0]
    if not names:
        raise ModelError(
            "has no signature, so that nobody knows what it takes",
            where=where,
            hint="Export it with a signature: model.export(folder), or tf.saved_model.save(module, "
            "folder, signatures=function).",
        )
    raise ModelError(
        f"has {len(names)} signatures: {', '.join(names)}",
        where=where,
        hint=f"Choose one: --signature {_DEFAULT if _DEFAULT in names else names[0]}",
    )


def _same(one: Any, other: Any) -> bool:
    """Whether two signatures take and give the same by the same names."""

    def described(tensors: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
        return {
            name: (tensor.dtype, *(dim.size for dim in tensor.tensor_shape.dim))
            for name, tensor in tensors.items()
        }

    return (described(one.inputs), described(one.outputs)) == (
        described(other.inputs),
        described(other.outputs),
    )
