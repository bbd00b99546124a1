"""The .tvmc file: what goes in comes out, and nothing damaged gets in."""

from __future__ import annotations

import gc
import hashlib
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import ml_dtypes
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tvmcomp.artifact.archive
import tvmcomp.replaced_file
from tvmcomp.artifact.archive import _COMMENT_LENGTH, _write_zip
from tvmcomp.artifact.artifact import Artifact
from tvmcomp.artifact.code import Code, pack_code
from tvmcomp.artifact.metadata import FORMAT_VERSION
from tvmcomp.artifact.reference import Reference, compare
from tvmcomp.errors import ArtifactError
from tvmcomp.model import Operator, Signature, TensorSpec
from tvmcomp.targets.description import TargetDescription

TARGET = TargetDescription(name="t", description="d", family="arm", triple="aarch64-linux-gnu")
SIGNATURE = Signature(
    inputs=(TensorSpec("x", (1, 3), "bfloat16"), TensorSpec("i", (), "int64")),
    outputs=(TensorSpec("a/b:0", (2,), "float32"),),
)
CODE = Code(b"\x7fELF" + bytes(300), "/* \N{GREEK SMALL LETTER MU} */\nint x;\n")


def make_artifact() -> Artifact:
    return Artifact.create(
        library=b"\x7fELF" + bytes(range(200)),
        code=CODE,
        constants={
            "w": np.arange(6, dtype=np.int8).reshape(2, 3),
            "b": np.array([1.5, -2], ml_dtypes.bfloat16),
            "empty": np.zeros((0, 4), np.float32),
            "h": np.linspace(0, 1, 33, dtype=np.float16),
            "scalar": np.array(7, np.int64),
            "flag": np.array([True, False]),
        },
        target=TARGET,
        signature=SIGNATURE,
        source="net.onnx",
        source_digest="ab" * 32,
        quant="int8",
        calibration={"observer": "entropy", "samples": 12},
        operators=(Operator("conv", "nn.conv2d", "int8", sqnr_db=31.5),),
        reference=Reference(
            {"x": np.ones((1, 3), ml_dtypes.bfloat16), "i": np.array(3)},
            {"a/b:0": np.array([0.5, np.nan], np.float32)},
        ),
        notes=("a note",),
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "net.tvmc"
    make_artifact().save(path)
    return path


def test_everything_survives_the_file(saved: Path) -> None:
    made, loaded = make_artifact(), Artifact.load(saved)
    assert msgspec.structs.replace(loaded.metadata, created="") == msgspec.structs.replace(
        made.metadata, created=""
    )
    assert loaded.library == made.library
    assert loaded.code == made.code == CODE
    for ours, theirs in zip(made.constants, loaded.constants, strict=True):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        assert ours.tobytes() == theirs.tobytes()
    assert made.reference is not None and loaded.reference is not None
    np.testing.assert_array_equal(
        loaded.reference.outputs["a/b:0"], made.reference.outputs["a/b:0"]
    )
    assert loaded.reference.inputs["x"].dtype == ml_dtypes.bfloat16
    assert loaded.reference.inputs["i"].shape == ()


def test_a_reader_of_json_sees_what_is_known_and_not_what_is_unknown(saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        metadata = msgspec.json.decode(archive.read("metadata.json"))
    (operator,) = metadata["operators"]
    assert operator == {"name": "conv", "kind": "nn.conv2d", "dtype": "int8", "sqnr_db": 31.5}
    assert set(metadata["target"]) == {"name", "description", "family", "triple"}
    assert "states" not in metadata


def test_constants_are_aligned_and_not_copied_again(saved: Path) -> None:
    for array in Artifact.load(saved).constants:
        assert array.ctypes.data % 64 == 0 or array.size == 0
        assert not array.flags.owndata


def test_a_file_in_use_is_not_held_twice(saved: Path) -> None:
    first, second = Artifact.load(saved), Artifact.load(saved)
    for one, other in zip(first.constants, second.constants, strict=True):
        assert np.shares_memory(one, other) or one.size == 0
        assert not one.flags.writeable
    content = saved.read_bytes()
    saved.write_bytes(content)  # the same again
    assert np.shares_memory(Artifact.load(saved).constants[0], first.constants[0])
    del first, second, one, other
    gc.collect()
    assert not tvmcomp.artifact.archive._read_already


def test_other_tools_can_read_it(saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [
            "metadata.json", "lib.so", "code.tar.xz", "constants.bin", "golden.npz",
        ]  # fmt: skip
        with tarfile.open(fileobj=io.BytesIO(archive.read("code.tar.xz"))) as code:
            assert code.getnames() == ["kernels.o", "driver.c"]
        reference = np.load(io.BytesIO(archive.read("golden.npz")), allow_pickle=False)
        np.testing.assert_array_equal(reference["outputs/a/b:0"], [0.5, np.nan])


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file; another one's metadata, with another date, may be deflated to another size."""
    path = tmp_path_factory.mktemp("content") / "net.tvmc"
    make_artifact().save(path)
    return path.read_bytes()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_found(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("changed") / "net.tvmc"
    changed = bytearray(content)
    position = data.draw(st.integers(0, len(content) - 1))
    changed[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(changed)
    with pytest.raises(ArtifactError):
        Artifact.load(path)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_truncation_is_found(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("truncated") / "net.tvmc"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(ArtifactError):
        Artifact.load(path)


def _with_one_byte_changed(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_with_one_byte_changed, "was changed"),
        (lambda content: content[:-10], "truncated"),
        (lambda content: content[: len(content) // 2], "truncated"),
        (lambda content: content + b"\n", "truncated"),
        (lambda content: b"", "not a tvmcomp artifact"),
        (lambda content: b"\x7fELF" + content, "not a tvmcomp artifact"),
    ],
)
def test_each_damage_has_its_message(saved: Path, damage, message: str) -> None:
    saved.write_bytes(damage(saved.read_bytes()))
    with pytest.raises(ArtifactError, match=message) as caught:
        Artifact.load(saved)
    assert str(saved) in str(caught.value)


def test_a_plain_zip_is_no_artifact(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", x=np.ones(3))
    with pytest.raises(ArtifactError, match="carries no digest"):
        Artifact.load(tmp_path / "arrays.npz")


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="No such file"):
        Artifact.load(tmp_path / "absent.tvmc")
    with pytest.raises(ArtifactError, match="not a file"):
        Artifact.load(tmp_path)
    with pytest.raises(ArtifactError, match="can't be written"):
        make_artifact().save(tmp_path / "absent" / "net.tvmc")


def forge(path: Path, **changes: bytes) -> Path:
    """Write a file whose digest is right and whose members are not what tvmcomp writes."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members |= {name.replace("__", "."): data for name, data in changes.items()}
    _write_zip(path, members)
    return path


OPERATOR = {"name": "dense", "kind": "matmul", "dtype": "float32"}
KERNEL = {"name": "k", "dtype": "float32", "macs": 1, "nbytes": 1}


def forge_metadata(path: Path, **fields: object) -> Path:
    with zipfile.ZipFile(path) as archive:
        metadata = msgspec.json.decode(archive.read("metadata.json"))
    return forge(path, metadata__json=msgspec.json.encode(metadata | fields))


def test_a_newer_format_asks_for_an_upgrade(saved: Path) -> None:
    forge_metadata(saved, format=FORMAT_VERSION + 1, a_field_of_the_future=1)
    with pytest.raises(ArtifactError, match=f"format version {FORMAT_VERSION + 1}") as caught:
        Artifact.load(saved)
    assert "Upgrade" in str(caught.value)


@pytest.mark.parametrize("old", range(2, FORMAT_VERSION))
def test_an_older_format_asks_to_build_again(saved: Path, old: int) -> None:
    forge_metadata(saved, format=old, tvmcomp="0.0.9", a_field_of_the_past=1)
    with pytest.raises(ArtifactError, match=f"format version {old} .made by tvmcomp 0.0.9") as e:
        Artifact.load(saved)
    assert "Build the artifact again" in str(e.value)


@pytest.mark.parametrize(
    "packed",
    [
        b"no xz",
        pack_code(CODE)[:-20],
        lzma.compress(b"no tar"),
        lzma.compress(bytes(10240)),
        bytes(100),
    ],
)
def test_code_that_is_not_code(saved: Path, packed: bytes) -> None:
    with zipfile.ZipFile(saved) as archive:
        metadata = msgspec.json.decode(archive.read("metadata.json"))
    metadata["digests"]["code.tar.xz"] = hashlib.sha256(packed).hexdigest()
    changed = {"metadata__json": msgspec.json.encode(metadata), "code__tar__xz": packed}
    loaded = Artifact.load(forge(saved, **changed))  # running does not need it
    with pytest.raises(ArtifactError, match="can't be unpacked"):
        _ = loaded.code


def test_a_gpu_has_no_code_to_link(tmp_path: Path) -> None:
    made = make_artifact()
    bare = Artifact.create(
        library=made.library, constants={}, target=TARGET, signature=SIGNATURE, source="s",
        source_digest="0",
    )  # fmt: skip
    bare.save(tmp_path / "bare.tvmc")
    assert Artifact.load(tmp_path / "bare.tvmc").code is None


def constant(**changes: object) -> list[dict[str, object]]:
    first = {"name": "w", "shape": [2, 3], "dtype": "int8", "offset": 0, "nbytes": 6}
    return [first | changes]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"unexpected": 1}, "unknown field"),
        ({"quant": "int3"}, "Invalid enum value"),
        ({"format": "1"}, "Expected `int`"),
        ({"constants": constant(offset=64)}, "contradict"),
        ({"constants": constant(offset=-64)}, "contradict"),
        ({"constants": constant(shape=[1 << 40])}, "contradict"),
        ({"constants": constant(shape=[-2, -3])}, "contradict"),
        ({"constants": constant(nbytes=1 << 40, shape=[1 << 40])}, "contradict"),
        ({"constants": constant(dtype="object", nbytes=48)}, "unknown dtype"),
        ({"constants": constant(dtype="finfo", nbytes=48)}, "unknown dtype"),
        ({"constants": constant(dtype="no such type")}, "unknown dtype"),
        ({"constants": constant()}, "its metadata lists 64"),
        ({"digests": {}}, "its metadata lists"),
        ({"operators": [{**OPERATOR, "inputs": [7]}]}, "positions that there are not"),
        ({"operators": [{**OPERATOR, "inputs": [-9]}]}, "positions that there are not"),
        ({"kernels": [{**KERNEL, "calls": [[7]]}]}, "positions that there are not"),
        ({"signature": {"inputs": [], "outputs": []}}, "golden"),
    ],
)
def test_metadata_that_contradicts_the_file(saved: Path, fields, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        Artifact.load(forge_metadata(saved, **fields))


def test_forged_members(saved: Path) -> None:
    content = saved.read_bytes()
    for changes, message in (
        ({"lib__so": b"other"}, "lib.so is not the one"),
        ({"metadata__json": b"{"}, "metadata is not valid"),
        ({"metadata__json": b"\xff"}, "metadata is not valid"),
        ({"metadata__json": b"[" * 100_000}, "metadata is not valid"),
        ({"../../escape": b"x"}, "nothing else"),
    ):
        saved.write_bytes(content)
        with pytest.raises(ArtifactError, match=message):
            Artifact.load(forge(saved, **changes))


@pytest.mark.parametrize("kind", ["compressed", "duplicate", "missing"])
def test_containers_that_tvmcomp_never_writes(
    saved: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    original = zipfile.ZipFile.writestr

    def writestr(self: zipfile.ZipFile, info: zipfile.ZipInfo, data: bytes, **_: int) -> None:
        if kind == "compressed":
            info.compress_type = zipfile.ZIP_BZIP2
        original(self, info, data)
        if kind == "duplicate" and info.filename == "lib.so":
            original(self, info, data)

    if kind == "missing":
        del members["lib.so"]
    monkeypatch.setattr(tvmcomp.artifact.archive.zipfile.ZipFile, "writestr", writestr)
    with pytest.warns(UserWarning) if kind == "duplicate" else pytest.MonkeyPatch.context():
        _write_zip(saved, members)
    with pytest.raises(ArtifactError, match="compressed" if kind == "compressed" else "members"):
        Artifact.load(saved)


@pytest.mark.parametrize("member", ["lib.so", "metadata.json"], ids=["stored", "deflated"])
@pytest.mark.parametrize("size", [-1, 1, 1 << 31])
def test_a_member_that_has_not_the_size_that_is_said(saved: Path, member: str, size: int) -> None:
    data = bytearray(saved.read_bytes()[:-_COMMENT_LENGTH])
    entry = data.rindex(b"PK\x01\x02", 0, data.rindex(member.encode()))
    field = slice(entry + 24, entry + 28)
    data[field] = (int.from_bytes(data[field], "little") + size).to_bytes(4, "little")
    digest = hashlib.sha256(data).hexdigest()
    saved.write_bytes(bytes(data) + b"sha256:" + digest.encode())
    with pytest.raises(ArtifactError, match=f"{member} has not the size"):
        Artifact.load(saved)


def test_an_interrupted_save_keeps_the_old_file(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()
    monkeypatch.setattr(
        tvmcomp.replaced_file.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28))
    )
    with pytest.raises(ArtifactError, match="can't be written"):
        make_artifact().save(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_reference_comparison() -> None:
    wanted = np.linspace(-1, 1, 2001, dtype=np.float32)
    reference = Reference({}, {"y": wanted})

    def agreement(given: np.ndarray, quant: str):
        return compare({"y": given}, reference, quant)[0]

    assert agreement(wanted, "none").agrees
    assert agreement(wanted + np.float32(1e-4), "none").agrees
    assert not agreement(wanted + np.float32(1e-3), "none").agrees
    assert agreement(wanted + np.float32(1e-2), "int8").agrees
    outlier = wanted.copy()
    outlier[7] = 5
    assert agreement(outlier, "int8").agrees
    assert agreement(outlier, "int8").max_difference > 1
    outlier[:3] = np.nan
    assert not agreement(outlier, "int8").agrees
    nan = Reference({}, {"y": np.array([np.nan, np.inf], np.float32)})
    assert compare(nan.outputs, nan, "none")[0].agrees


def test_a_truncated_zip_whose_directory_can_not_be_read_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.tvmc"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("lib.so", b"x" * 1000)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02")] = 0
    path.write_bytes(content)
    assert zipfile.is_zipfile(path)
    with pytest.raises(ArtifactError, match="truncated"):
        Artifact.load(path)
