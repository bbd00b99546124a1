"""Constants in the file: what gains is coded, and comes out as it went in; nothing is believed."""

from __future__ import annotations

import zlib
from pathlib import Path

import ml_dtypes
import msgspec
import numpy as np
import pytest
from artifact.test_artifact import SIGNATURE, TARGET, forge_metadata

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.artifact.code_book import look_up, with_book
from tvmcomp.artifact.constants import Coding, pack, stored_nbytes, unpack
from tvmcomp.artifact.groups import Group
from tvmcomp.errors import ArtifactError

RNG = np.random.default_rng(0)


def weights(bits: int, *shape: int) -> np.ndarray:
    """Normally distributed, rounded to ``bits``."""
    limit = 2 ** (bits - 1) - 1
    return np.clip(np.rint(RNG.normal(size=shape) * limit / 2.5), -limit, limit).astype(np.int8)


def few_bits() -> dict[str, np.ndarray]:
    """A small network's: two large weights of 4 bits, scales, biases, and odd ones."""
    return {
        "w0": weights(4, 64, 100),
        "s0": RNG.uniform(0.01, 0.02, 64).astype(np.float32),
        "b0": RNG.integers(-3000, 3000, 64).astype(np.int32),
        "empty": np.zeros((0, 4), np.float32),
        "small": weights(4, 16, 9),
        "half": RNG.uniform(0.01, 0.02, 50).astype(ml_dtypes.bfloat16),
        "scalar": np.array(7, np.int64),
        "s1": RNG.uniform(0.01, 0.02, 300).astype(np.float32),
        "w1": weights(3, 5000),
        "flags": np.array([True, False]),
        "noise": RNG.integers(-127, 128, (80, 81)).astype(np.int8),
    }


def artifact(constants: dict[str, np.ndarray]) -> Artifact:
    return Artifact.create(
        library=b"\x7fELF", constants=constants, target=TARGET, signature=SIGNATURE,
        source="net.onnx", source_digest="ab" * 32,
    )  # fmt: skip


def aligned(data: bytes) -> np.ndarray:
    memory = np.zeros(len(data) + 64, np.uint8)
    begin = -memory.ctypes.data % 64
    memory[begin : begin + len(data)] = np.frombuffer(data, np.uint8)
    return memory[begin : begin + len(data)]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    artifact(few_bits()).save(tmp_path / "net.tvmc")
    return tmp_path / "net.tvmc"


def test_what_comes_out_is_what_went_in(saved):
    made, loaded = artifact(few_bits()), Artifact.load(saved)
    assert loaded.metadata.coding is not None
    for ours, theirs in zip(loaded.constants, few_bits().values(), strict=False):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        assert ours.ctypes.data % 64 == 0 or not ours.size
    again = saved.with_name("again.tvmc")
    loaded.save(again)
    assert again.read_bytes() == saved.read_bytes()
    assert made.constants_nbytes == sum(array.nbytes for array in few_bits().values())


def test_every_byte_is_the_same():
    constants = few_bits()
    data, specs, coding = pack(list(constants), list(constants.values()))
    for array, wanted in zip(
        unpack(specs, coding, aligned(data), "here"), constants.values(), strict=True
    ):
        assert array.tobytes() == wanted.tobytes()


def test_what_gains_is_coded_and_nothing_else():
    constants = few_bits()
    data, specs, coding = pack(list(constants), list(constants.values()))
    names = {tuple(specs[i].name for i in group.constants) for group in coding.groups}
    assert names >= {("w0",), ("w1",), ("s0", "s1")} and ("noise",) not in names
    by_first = {specs[group.constants[0]].name: group.planes for group in coding.groups}
    assert by_first["w0"][0] < 0.55 * constants["w0"].nbytes
    assert by_first["w1"][0] < 0.4 * constants["w1"].nbytes
    *mantissa, exponent = by_first["s0"]
    assert mantissa[:2] == [364, 364] and exponent < 100  # The low bytes are stored.
    assert (
        stored_nbytes(specs, coding) <= len(data) < 0.7 * sum(a.nbytes for a in constants.values())
    )


@pytest.mark.parametrize(
    "constants",
    [
        {},
        {"eight": weights(8, 100_000)},
        {"float": RNG.normal(size=50_000).astype(np.float32)},
        # A third of what is there would be smaller by half.
        {"eight": weights(8, 100_000), "four": weights(4, 30_000)},
        {"few": weights(2, 100)},
    ],
)
def test_a_file_that_would_gain_little_is_as_it_was(constants):
    made = artifact(constants).metadata
    assert made.coding is None
    assert b"coding" not in msgspec.json.encode(made)
    assert [spec.offset % 64 for spec in made.constants] == [0] * len(constants)


def changed(coding: Coding, **fields: object) -> Coding:
    """``coding`` with other fields of its first group."""
    first, *rest = coding.groups
    return Coding((msgspec.structs.replace(first, **fields), *rest), coding.sha256)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: changed(c, constants=(10, 10)), "two groups"),
        (lambda c: changed(c, constants=(99,)), "none"),
        (lambda c: changed(c, constants=(-1,)), "none"),
        (lambda c: changed(c, constants=()), "contradict|planes"),
        (lambda c: changed(c, planes=()), "planes"),
        (lambda c: changed(c, planes=(-5,)), "reaches past"),
        (lambda c: changed(c, planes=(1 << 60,)), "reaches past"),
        (lambda c: changed(c, planes=(c.groups[0].planes[0] - 1,)), "size|contradict"),
        (lambda c: changed(c, planes=(1,)), "more than|contradict"),
        (lambda c: Coding(c.groups[::-1], c.sha256), "contradict"),
        (lambda c: Coding(c.groups, "ab" * 32), "decode to others"),
        (lambda c: None, "contradict"),
    ],
)
def test_a_coding_that_contradicts_the_file(saved, change, message):
    coding = change(Artifact.load(saved).metadata.coding)
    forge_metadata(saved, coding=msgspec.to_builtins(coding))
    with pytest.raises(ArtifactError, match=message):
        Artifact.load(saved)


def unpacked(shape: int, stream: bytes) -> None:
    _, (spec,), _ = pack(["w"], [np.zeros(1, np.int8)])
    spec = msgspec.structs.replace(spec, shape=(shape,), nbytes=shape)
    coding = Coding((Group((0,), (len(stream),)),), "")
    unpack([spec], coding, np.frombuffer(stream, np.uint8), "here")


def test_a_stream_gives_as_many_bytes_as_its_constants_have():
    bomb = zlib.compress(bytes(10_000_000))
    for shape, stream, message in (
        (5000, bomb, "another size"),
        (len(bomb) * 1000, bomb, "another size"),
        (len(bomb) * 2000, bomb, "more than its bytes can hold"),
        (1 << 45, bomb, "more than its bytes can hold"),
        (5000, zlib.compress(bytes(4999)), "another size"),
        (5000, zlib.compress(bytes(5000)) + b"more", "another size"),
        (5000, zlib.compress(bytes(5000))[:-1], "another size"),
        (5000, b"no stream at all", "can't be decoded"),
        (5000, zlib.compress(bytes(5000)), "decode to others"),
    ):
        with pytest.raises(ArtifactError, match=message):
            unpacked(shape, stream)


def test_tables_of_functions_are_coded_by_differences() -> None:
    steps = np.linspace(-6, 6, 256)
    tables = [np.rint(255 / (1 + np.exp(-a * steps))).astype(np.uint8) for a in (0.5, 1, 2, 4)]
    constants = {f"table{i}": table for i, table in enumerate(tables)}
    data, specs, coding = pack(list(constants), tables)
    assert coding is not None and [group.differences for group in coding.groups] == [True]
    assert len(data) < 400
    for got, wanted in zip(unpack(specs, coding, aligned(data), "here"), tables, strict=True):
        np.testing.assert_array_equal(got, wanted)


def clustered() -> dict[str, np.ndarray]:
    """Large float weights of 16 values, and small ones that have many."""
    book = RNG.normal(size=16).astype(np.float32)
    return {
        "w": book[RNG.integers(0, 16, (64, 100))],
        "half": book[RNG.integers(0, 16, 5000)].astype(ml_dtypes.bfloat16),
        "b": RNG.normal(size=64).astype(np.float32),
    }


def test_floats_of_few_values_are_stored_as_indices_into_a_code_book(tmp_path: Path) -> None:
    made = artifact(clustered())
    assert made.metadata.coding is not None
    books = {group.constants: group.entries for group in made.metadata.coding.groups}
    assert books[0,] == books[1,] == 16
    assert made.constants_nbytes_in_file < 1.1 * (6400 + 5000) / 2 + 64 * 4 + 200
    made.save(tmp_path / "net.tvmc")
    again = Artifact.load(tmp_path / "net.tvmc")
    for found, wanted in zip(again.constants, made.constants, strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)


def test_more_values_than_a_byte_points_at_have_no_book() -> None:
    assert with_book(np.arange(257, dtype=np.float32).tobytes(), 4) is None
    assert with_book(np.tile(np.arange(256, dtype=np.float32), 40).tobytes(), 4) is not None
    late = np.concatenate([np.zeros(5000), np.arange(300)]).astype(np.float32)
    assert with_book(late.tobytes(), 4) is None
    assert with_book(bytes(5000), 1) is None


def test_a_book_gives_back_what_it_was_made_of_to_the_bit() -> None:
    values = np.array([0.0, -0.0, np.inf, 1e-45, 3.0], np.float32)[RNG.integers(0, 5, 999)]
    made = with_book(values.tobytes(), 4)
    assert made is not None
    book = np.frombuffer(made[0], np.uint8).reshape(-1, 4)
    result = np.empty((999, 4), np.uint8)
    look_up(book, np.frombuffer(made[1], np.uint8), result, "here")
    assert result.tobytes() == values.tobytes()


def test_indices_past_the_book_and_false_sizes_are_refused() -> None:
    arrays = [np.tile(np.array([1.0, 2.0], np.float32), 5000)]
    packed = pack(["w"], arrays)
    assert packed.coding is not None
    (group,) = packed.coding.groups
    assert group.entries == 2
    for entries, itemsize in ((1, 4), (3, 4), (2, 2), (-2, 4), (2, -4)):
        forged = msgspec.structs.replace(group, entries=entries, itemsize=itemsize)
        coding = Coding((forged,), packed.coding.sha256)
        with pytest.raises(ArtifactError):
            unpack(packed.specs, coding, aligned(packed.data), "here")
