import itertools
import zipfile

import numpy as np
import pytest

from tvmcomp.errors import CalibrationError
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.quantize import data as data_module
from tvmcomp.quantize import sample_files
from tvmcomp.quantize.data import load_samples

SHAPE = (1, 3, 4, 5)
IMAGE = Signature((TensorSpec("x", SHAPE, "float32"),), ())
TEXT = Signature(
    (TensorSpec("ids", (1, 8), "int64"), TensorSpec("scores", (1, 2), "float32")),
    (),
)
RNG = np.random.default_rng(0)
BATCH = RNG.normal(size=(6, 3, 4, 5)).astype(np.float32)


def python_samples():
    return [{"x": sample[None]} for sample in BATCH]


def assert_is_batch(samples, batch=BATCH):
    for _ in range(2):  # iterable again
        got = list(samples)
        assert len(got) == len(samples) == len(batch)
        for sample, expected in zip(got, batch, strict=True):
            assert list(sample) == ["x"]
            assert sample["x"].shape == SHAPE and sample["x"].dtype == np.float32
            np.testing.assert_array_equal(sample["x"][0], expected)


def save(tmp_path, name="calib.npz", **arrays):
    path = tmp_path / name
    if name.endswith(".npz"):
        np.savez(path, **arrays)
    else:
        (array,) = arrays.values()
        np.save(path, array)
    return path


def refused(source, *parts, signature=IMAGE, **options):
    with pytest.raises(CalibrationError) as caught:
        load_samples(source, signature, **options)
    for part in parts:
        assert part in str(caught.value), str(caught.value)


def test_list_and_generator():
    assert_is_batch(load_samples(python_samples(), IMAGE))
    assert_is_batch(load_samples((s for s in python_samples()), IMAGE))
    assert_is_batch(load_samples([{"x": BATCH[:4]}, {"x": BATCH[4]}, {"x": BATCH[5:]}], IMAGE))


def test_generator_may_reuse_its_array_and_be_endless():
    buffer = np.empty(SHAPE, np.float32)

    def endless():
        for sample in itertools.cycle(BATCH):
            buffer[0] = sample
            yield {"x": buffer}

    assert_is_batch(load_samples(endless(), IMAGE, max_samples=6))


def test_samples_are_a_source_too():
    first = load_samples(python_samples(), IMAGE)
    assert load_samples(first, IMAGE).digest == first.digest


@pytest.mark.parametrize("batch", [BATCH, BATCH[:, None], np.asfortranarray(BATCH)])
@pytest.mark.parametrize("name", ["calib.npz", "calib.npy"])
def test_array_file(tmp_path, batch, name):
    samples = load_samples(save(tmp_path, name, x=batch), IMAGE)
    assert_is_batch(samples)
    assert samples.digest == load_samples(python_samples(), IMAGE).digest
    assert samples.source.endswith(name)


def test_compressed_npz(tmp_path):
    np.savez_compressed(tmp_path / "calib.npz", x=BATCH)
    assert_is_batch(load_samples(tmp_path / "calib.npz", IMAGE))


def test_folder_of_arrays_in_order_of_name(tmp_path):
    (tmp_path / "sub").mkdir()
    save(tmp_path, "a.npy", x=BATCH[:1])
    save(tmp_path, "b.npy", x=BATCH[1])
    save(tmp_path, "c.npz", x=BATCH[2:5])
    save(tmp_path, "sub/d.npy", x=BATCH[5:])
    (tmp_path / ".hidden.npy").write_bytes(b"junk")
    (tmp_path / "README.md").write_text("notes")
    assert_is_batch(load_samples(str(tmp_path), IMAGE))


def test_max_samples_are_evenly_spaced_over_files(tmp_path):
    save(tmp_path, "a.npy", x=BATCH[:4])
    save(tmp_path, "b.npy", x=BATCH[4:5])
    save(tmp_path, "c.npy", x=BATCH[5:])
    assert_is_batch(load_samples(tmp_path, IMAGE, max_samples=3), BATCH[[0, 2, 4]])
    assert_is_batch(load_samples(tmp_path, IMAGE, max_samples=99))
    assert_is_batch(load_samples(python_samples(), IMAGE, max_samples=2), BATCH[:2])


def test_too_large_for_memory_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(data_module, "KEEP_BYTES", 2 * BATCH[0].nbytes)
    samples = load_samples(save(tmp_path, x=BATCH), IMAGE)
    assert samples._kept is None
    assert_is_batch(samples)
    refused(python_samples(), "memory", "Give fewer")


def test_several_inputs_and_digest(tmp_path):
    ids = RNG.integers(0, 9, (3, 8))
    scores = RNG.normal(size=(3, 2)).astype(np.float32)
    samples = load_samples(save(tmp_path, ids=ids, scores=scores), TEXT)
    assert [s["ids"].tolist() for s in samples] == ids[:, None].tolist()
    swapped = load_samples([{"scores": scores, "ids": ids.astype(np.int32)}], TEXT)
    assert swapped.digest == samples.digest
    changed = scores.copy()
    changed[2, 1] += 1
    assert load_samples([{"scores": changed, "ids": ids}], TEXT).digest != samples.digest


def test_batch_other_than_one_and_scalar_input():
    pair = Signature((TensorSpec("x", (2, 3), "float32"), TensorSpec("t", (), "float32")), ())
    samples = list(load_samples([{"x": np.ones((6, 3)), "t": np.arange(3.0)}], pair))
    assert [s["x"].shape for s in samples] == [(2, 3)] * 3
    assert [float(s["t"]) for s in samples] == [0, 1, 2]
    refused([{"x": np.ones((5, 3)), "t": np.arange(3.0)}], "(5, 3)", signature=pair)


def test_float_widths_are_converted_and_overflow_is_seen():
    for dtype in (np.float16, np.float64):
        (sample,) = load_samples([{"x": BATCH[0].astype(dtype)}], IMAGE)
        np.testing.assert_array_equal(sample["x"][0], BATCH[0].astype(dtype).astype(np.float32))
    refused([{"x": np.full(SHAPE, 1e300)}], "NaN or Inf")


def test_warnings():
    same = load_samples([{"x": BATCH[0]}] * 3, IMAGE)
    assert same.warnings == ("All 3 calibration samples are identical.",)
    constant = load_samples([{"x": np.full(SHAPE, 0.5)}], IMAGE)
    assert constant.warnings == ("Input 'x' is the constant 0.5 in all calibration samples.",)
    assert load_samples(python_samples(), IMAGE).warnings == ()


ONE = np.ones(SHAPE, np.float32)
NAN = ONE.copy()
NAN[0, 1, 2, 3] = np.nan


@pytest.mark.parametrize(
    "arrays, parts",
    [
        ({"x": NAN}, ["calib.npz, input 'x', sample 0", "(0, 1, 2, 3)"]),
        ({"x": ONE * np.inf}, ["60 of 60 values are NaN or Inf"]),
        ({"y": ONE}, ["no data for input 'x'; no input is called 'y'", "Name the arrays"]),
        ({"x": ONE, "labels": ONE}, ["no input is called 'labels'"]),
        ({"x": ONE[:, :, :3]}, ["input 'x'", "(1, 3, 3, 5)", "Give (N, 1, 3, 4, 5)"]),
        ({"x": ONE.astype(np.uint8)}, ["uint8", "float32", "normalised"]),
        ({"x": ONE.astype(bool)}, ["dtype bool"]),
        ({"x": ONE.astype(complex)}, ["dtype complex128"]),
        ({"x": ONE.astype(str)}, ["dtype <U"]),
        ({"x": ONE[:0]}, ["there are no samples"]),
    ],
)
def test_bad_npz(tmp_path, arrays, parts):
    refused(save(tmp_path, **arrays), "calib.npz", *parts)


@pytest.mark.parametrize(
    "sample, parts",
    [
        ({"x": NAN}, ["calibration sample 0, input 'x'", "NaN"]),
        ({}, ["no data for input 'x'"]),
        (ONE, ["ndarray", "not a dict"]),
        ({"x": ONE[:, :2]}, ["shape (1, 2, 4, 5)"]),
        ({"x": [[1, 2], [3]]}, ["not an array"]),
        ({"x": np.array([None])}, ["Python objects"]),
    ],
)
def test_bad_python_sample(sample, parts):
    refused([sample], *parts)


def test_sources_that_are_not_iterables_of_samples(tmp_path):
    refused([], "there are no samples")
    refused({"x": BATCH}, "dict", "Give a list")
    refused(3, "int")
    refused(tmp_path / "none.npz", "no such file")
    refused(tmp_path, "there are no samples", ".npz")
    (tmp_path / "calib.csv").write_text("1,2")
    refused(tmp_path / "calib.csv", "unknown kind of file '.csv'")


def test_integers():
    ids = np.zeros((1, 8))
    scores = np.ones((1, 2), np.float32)
    refused([{"ids": ids, "scores": scores}], "dtype float64", "int64", signature=TEXT)
    small = Signature((TensorSpec("x", (1, 2), "int8"),), ())
    refused([{"x": np.array([[1, 300]])}], "do not fit", "int8", signature=small)


def test_different_numbers_of_samples(tmp_path):
    arrays = {"ids": np.zeros((3, 8), int), "scores": np.ones((2, 2))}
    refused(save(tmp_path, **arrays), "ids 3, scores 2", signature=TEXT)
    refused([arrays], "different numbers", signature=TEXT)


def test_npy_of_a_network_with_two_inputs(tmp_path):
    refused(save(tmp_path, "a.npy", x=ONE), "2 inputs", "ids, scores", signature=TEXT)


def test_object_arrays_are_not_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    array = np.array([Bomb()], dtype=object)
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    np.savez(tmp_path / "a.npz", x=array)
    refused(tmp_path / "a.npy", "a.npy", "Python objects")
    refused(tmp_path / "a.npz", "input 'x'", "Python objects")


def test_damaged_files(tmp_path):
    good = save(tmp_path, x=BATCH).read_bytes()
    for name, content in [
        ("cut.npz", good[:500]),
        ("text.npz", b"hello"),
        ("empty.npy", b""),
        ("text.npy", b"hello" * 10),
    ]:
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, name, "not a readable")
    flipped = bytearray(good)
    flipped[700] ^= 0xFF
    (tmp_path / "flipped.npz").write_bytes(flipped)
    refused(tmp_path / "flipped.npz", "flipped.npz", "CRC")
    array = save(tmp_path, "a.npy", x=BATCH)
    array.write_bytes(array.read_bytes()[:-1])
    refused(array, "sample 5", "ends in the middle")


def test_header_that_claims_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(sample_files, "MAX_UNPACKED_BYTES", 1000)
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, x=np.zeros((1000, 3, 4, 5), np.float32))
    refused(path, "bomb.npz", "unpacks to more")


def test_zip_member_that_is_no_array(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", b"not an array")
    refused(tmp_path / "a.npz", "not a readable .npy array")
