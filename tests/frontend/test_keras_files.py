"""Files of Keras that would run code, read others or are damaged: each is one error."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import odd
import pytest
import zips
from needed import package

os.environ.setdefault("KERAS_BACKEND", "torch")
torch = package("torch", "keras")
keras = package("keras", "keras")
h5py = package("h5py", "keras")

import tvmcomp  # noqa: E402
from tvmcomp.errors import ModelError  # noqa: E402
from tvmcomp.frontend.keras import files, hdf5  # noqa: E402
from tvmcomp.frontend.keras.config import checked  # noqa: E402

layers = keras.layers


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("keras") / "m.keras"
    network = [layers.Input((6, 4)), layers.Conv1D(5, 3), layers.GRU(4), layers.Dense(3)]
    keras.Sequential(network).save(path)
    return path


def refused(path: Path, text: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=text) as caught:
        files.convert(path, tmp_path, backend="torch")
    assert str(path) in str(caught.value)


def test_the_error_of_another_process_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    keras.Sequential([layers.Input((3,)), layers.Lambda(lambda x: x + 1)]).save(path)
    refused(path, "is of the kind Lambda, which holds Python code", tmp_path)
    with pytest.raises(ModelError, match="is of the kind Lambda") as caught:
        tvmcomp.build(path)
    assert "give it to tvmcomp.build" in caught.value.hint
    h5 = tmp_path / "m.h5"
    keras.Sequential([layers.Input((3,)), layers.Lambda(lambda x: x + 1)]).save(h5)
    refused(h5, "is of the kind Lambda", tmp_path)


def layer(kind: str, module: str | None = "keras.layers", **config: object) -> dict:
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}


@pytest.mark.parametrize(
    "evil",
    [
        layer("Lambda", function="f"),
        layer("TFSMLayer", filepath="/tmp/x"),
        layer("TorchModuleWrapper", module="x"),
        layer("StringLookup", vocabulary="/etc/passwd"),
        layer("Popen", "subprocess"),
        layer("system", "os"),
        layer("Evil", "keras_evil.layers"),
        layer("get_file", "keras.utils"),
        layer("load_model", "keras.saving"),
        layer("Model", "keras.src.saving.saving_lib"),
        layer("Dense", "keras.layers.__loader__"),
        layer("a.b", "keras.layers"),
        layer("Dense", activation={"module": "os", "class_name": "function", "config": "system"}),
        layer("Dense", activation={"module": "keras.utils", "class_name": "function",
                                   "config": "get_file"}),
        layer("Dense", activation={"class_name": "function", "config": "eval", "module": None}),
        layer("TimeDistributed", layer=layer("Lambda", function="f")),
    ],
)  # fmt: skip
def test_what_is_not_keras_own_is_refused(evil: dict) -> None:
    config = layer("Sequential", "keras", layers=[layer("InputLayer"), evil])
    with pytest.raises(ModelError) as caught:
        checked(config, where="m.keras")
    assert caught.value.hint


def changed(source: Path, target: Path, edit: Callable[[dict[str, bytes]], None]) -> Path:
    members = dict(zips.unpacked(source.read_bytes()))
    edit(members)
    target.write_bytes(zips.packed(list(members.items())))
    return target


def with_weights(model: Path, path: Path, edit: Callable[[h5py.File], None]) -> Path:
    """The model with an edited file of weights."""

    def change(members: dict[str, bytes]) -> None:
        inner = path.with_suffix(".inner")
        inner.write_bytes(members["model.weights.h5"])
        with h5py.File(inner, "r+") as file:
            edit(file)
        members["model.weights.h5"] = inner.read_bytes()

    return changed(model, path, change)


def test_weights_in_other_files_are_refused(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"

    def external_link(file: h5py.File) -> None:
        file["layers/more"] = h5py.ExternalLink("/etc/passwd", "/")

    def soft_link(file: h5py.File) -> None:
        file["layers/more"] = h5py.SoftLink("/")

    def external_data(file: h5py.File) -> None:
        file.create_dataset("x", (4,), "u1", external=[("/etc/passwd", 0, 4)])

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((4,), "u1")
        layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
        file.create_virtual_dataset("x", layout)

    def bomb(file: h5py.File) -> None:
        file.create_dataset("x", (1 << 40,), "f4", chunks=(1 << 20,), compression="gzip")

    def texts(file: h5py.File) -> None:
        file["x"] = "a text"

    for edit, text in (
        (external_link, "link to elsewhere"),
        (soft_link, "link to elsewhere"),
        (external_data, "data in other files"),
        (virtual, "data in other files"),
        (bomb, "far more data"),
        (texts, "no numbers"),
    ):
        refused(with_weights(model, path, edit), text, tmp_path)


def test_archives_that_are_damaged(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"

    def escape(members: dict[str, bytes]) -> None:
        members["assets/../../x"] = b""

    def bomb(members: dict[str, bytes]) -> None:
        members["model.weights.h5"] = bytes(1 << 28)

    def no_model(members: dict[str, bytes]) -> None:
        members["config.json"] = b'{"class_name": "Sequential"}'

    def no_json(members: dict[str, bytes]) -> None:
        members["config.json"] = b"[" * 100_000

    def cut(members: dict[str, bytes]) -> None:
        members["model.weights.h5"] = members["model.weights.h5"][:3000]

    for edit, text in (
        (escape, "outside its folder"),
        (no_model, "can't be loaded by Keras"),
        (no_json, "no JSON"),
        (cut, "damaged HDF5 file"),
    ):
        refused(changed(model, path, edit), text, tmp_path)
    members = dict(zips.unpacked(model.read_bytes()))
    bomb(members)
    path.write_bytes(zips.packed(list(members.items()), 8))
    refused(path, "unpacks to", tmp_path)
    weights = tmp_path / "w.h5"
    with h5py.File(weights, "w") as file:
        file["x"] = np.zeros(3)
    refused(weights, "holds weights and no model", tmp_path)


def test_an_input_of_a_terabyte(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    keras.Sequential([layers.Input((1 << 30, 512)), layers.ReLU()]).save(path)
    refused(path, "is larger than 512 MiB", tmp_path)


def test_mutated_files_are_read_or_refused(model: Path, tmp_path: Path) -> None:
    data, path, read = model.read_bytes(), tmp_path / "m.keras", 0
    rng = Random(0)
    for _ in range(300):
        members = dict(zips.unpacked(data))
        kind = rng.randrange(4)
        if kind == 0:
            config = json.loads(members["config.json"])
            members["config.json"] = odd.json_text(odd.edited(config, rng))
        elif kind == 1:
            members["model.weights.h5"] = odd.damaged(members["model.weights.h5"], rng)
        packed = zips.packed(list(members.items()))
        path.write_bytes(zips.lying(packed, rng) if kind == 2 else packed)
        if kind == 3:
            path.write_bytes(odd.damaged(data, rng))
        try:
            files.only_data(path, tmp_path / "data.keras", str(path))
        except ModelError:
            continue
        read += 1
    assert 20 < read < 280
    for _ in range(100):
        path.write_bytes(odd.damaged(members["model.weights.h5"], rng))
        try:
            hdf5.check(path, where=str(path))
        except ModelError:
            continue
