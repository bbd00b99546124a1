"""A file's format is told by what it holds; what is damaged, foreign or unsafe is refused."""

from __future__ import annotations

import hashlib
import sys
import types
import zipfile
from pathlib import Path

import onnx
import pytest
from networks import tiny

import tvmcomp
from tvmcomp.errors import ModelError
from tvmcomp.frontend import formats, load_model, source
from tvmcomp.frontend.formats import format_of

KERAS = ("metadata.json", "config.json", "model.weights.h5")


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        for name in names:
            made.writestr(name, "x")
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["m.bin", "m", "m.onnx", "m.pt2"])
def test_what_a_file_holds_decides(tmp_path, name):
    path = tmp_path / name
    assert format_of(written(path, b"\x1c\0\0\0TFL3" + bytes(8))) is formats.TFLITE
    assert format_of(written(path, b"\x89HDF\r\n\x1a\n" + bytes(8))) is formats.HDF5
    assert format_of(archive(path, *KERAS)) is formats.KERAS
    assert format_of(archive(path, "net/archive_format", "net/data.pkl")) is formats.PT2
    assert format_of(archive(path, "serialized_exported_program.json")) is formats.PT2


@pytest.mark.parametrize("name", ["m.bin", "m", "m.onnx"])
def test_an_onnx_model_by_any_name(tmp_path, name):
    model = tiny(tmp_path / "net.onnx")
    assert format_of(model.rename(tmp_path / name)) is formats.ONNX


def test_a_saved_model_is_a_folder(tmp_path):
    inner = written(tmp_path / "saved_model.pb", b"\x08\x01")
    assert format_of(tmp_path) is formats.SAVED_MODEL
    with pytest.raises(ModelError, match="Give the folder"):
        format_of(inner)


@pytest.mark.parametrize(
    "name, content, text",
    [
        ("m.bin", b"a plain text", "format of a .bin file is not known"),
        ("m", b"", "suffix-less"),
        ("m.tflite", b"a plain text", "is not a TensorFlow Lite model, or is truncated"),
        ("m.h5", b"", "is not a Keras model in HDF5, or is truncated"),
        ("m.keras", b"PK\x03\x04 and no end", "damaged or incomplete archive"),
        ("m.pt", b"\x80\x02}q\x00.", "pickled; to load it runs the code"),
        ("m.ort", b"\x1c\0\0\0ORTM" + bytes(8), "ONNX Runtime's own format"),
    ],
)
def test_refused(tmp_path, name, content, text):
    with pytest.raises(ModelError, match=text) as caught:
        format_of(written(tmp_path / name, content))
    assert caught.value.hint


@pytest.mark.parametrize(
    "names, text",
    [
        (("net/data.pkl", "net/version"), "pickled by PyTorch"),
        (("net/data.pkl", "net/constants.pkl", "net/code/a.py"), "TorchScript"),
        (("a.npy",), "no known format"),
    ],
)
def test_archives_that_are_refused(tmp_path, names, text):
    with pytest.raises(ModelError, match=text):
        format_of(archive(tmp_path / "m.zip", *names))


def test_what_is_no_file(tmp_path):
    with pytest.raises(ModelError, match="No such file"):
        format_of(tmp_path / "absent.tflite")
    with pytest.raises(ModelError, match="no SavedModel"):
        format_of(tmp_path)


def test_a_missing_package_gives_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(source.importlib.util, "find_spec", lambda name: None)
    path = written(tmp_path / "m", b"\x1c\0\0\0TFL3" + bytes(8))
    with pytest.raises(ModelError, match=r"pip install 'tvmcomp\[tflite\]'"):
        load_model(path)


@pytest.fixture
def converter(tmp_path, monkeypatch):
    """Reads any .tflite file as a small network."""
    made = types.ModuleType("tvmcomp.frontend.tflite")
    model = onnx.load(tiny(tmp_path / "net.onnx"))
    made.convert = lambda path: model
    monkeypatch.setitem(sys.modules, "tvmcomp.frontend.tflite", made)
    monkeypatch.setattr(source.importlib.util, "find_spec", lambda name: made)
    return model


def test_a_converted_network_keeps_its_file(tmp_path, converter):
    path = written(tmp_path / "m.tflite", b"\x1c\0\0\0TFL3" + bytes(8))
    loaded = load_model(path)
    assert loaded.source == str(path)
    assert loaded.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_convert_writes_the_model(tmp_path, converter):
    path = written(tmp_path / "m.tflite", b"\x1c\0\0\0TFL3" + bytes(8))
    target = tmp_path / "out.onnx"
    assert tvmcomp.convert(path, target) == converter
    assert onnx.load(target) == converter
    assert tvmcomp.convert(path) == converter
    with pytest.raises(ModelError, match="no folder"):
        tvmcomp.convert(path, tmp_path / "none" / "out.onnx")
    with pytest.raises(ModelError, match="ONNX model already"):
        tvmcomp.convert(target, tmp_path / "again.onnx")


def test_large_weights_lie_beside_the_model(tmp_path, converter, monkeypatch):
    monkeypatch.setattr("onnx.checker.MAXIMUM_PROTOBUF", 100)
    monkeypatch.setattr("tvmcomp.frontend.written._EXTERNAL_BYTES", 64)
    path = written(tmp_path / "m.tflite", b"\x1c\0\0\0TFL3" + bytes(8))
    target = tmp_path / "out.onnx"
    tvmcomp.convert(path, target)
    assert (tmp_path / "out.onnx.data").stat().st_size > 64
    read = onnx.load(target)
    for tensor, other in zip(read.graph.initializer, converter.graph.initializer, strict=True):
        assert (onnx.numpy_helper.to_array(tensor) == onnx.numpy_helper.to_array(other)).all()


def test_a_folder_has_one_digest(tmp_path):
    written(tmp_path / "b", b"1")
    first = source.digest_of(tmp_path)
    written(tmp_path / "a", b"2")
    assert source.digest_of(tmp_path) != first
    (tmp_path / "a").unlink()
    assert source.digest_of(tmp_path) == first
