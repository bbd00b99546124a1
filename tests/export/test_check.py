"""The program's comparison with reference outputs is the one of ``tvmcomp run``, for every type."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from exported import STRICT, run, tool

from tvmcomp.artifact.reference import Reference, compare
from tvmcomp.codegen import cruntime
from tvmcomp.dtypes import numpy_dtype

TOLERANCE = 1e-4  # of "none"
DTYPES = (
    "float32", "float64", "float16", "bfloat16", "bool", "int8", "uint8", "int16", "uint16",
    "int32", "uint32", "int64", "uint64",
)  # fmt: skip


class Tensor(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("dtype", ctypes.c_char_p),
        ("ndim", ctypes.c_int32),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("nbytes", ctypes.c_uint64),
        ("alignment", ctypes.c_uint32),
    ]


class Agreement(ctypes.Structure):
    _fields_ = [("largest", ctypes.c_double), ("within", ctypes.c_double)]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("check") / "check.so"
    folder = cruntime.folder() / "program"
    includes = [f"-I{folder}", f"-I{cruntime.include_folder()}"]
    command = [tool("gcc"), *STRICT, "-shared", "-fPIC", *includes, folder / "check.c", "-lm"]
    run([*command, "-o", path])
    loaded = ctypes.CDLL(str(path))
    loaded.tvmcomp_compare.restype = Agreement
    loaded.tvmcomp_compare.argtypes = [
        ctypes.POINTER(Tensor), ctypes.c_void_p, ctypes.c_void_p, ctypes.c_double
    ]  # fmt: skip
    return loaded


def both(library: ctypes.CDLL, given: np.ndarray, wanted: np.ndarray, dtype: str) -> list[tuple]:
    shape = (ctypes.c_int64 * max(1, given.ndim))(*given.shape)
    tensor = Tensor(b"y", dtype.encode(), given.ndim, shape, given.nbytes, 64)
    # At an odd address: files are read to where they fit.
    copies = [np.zeros(array.nbytes + 1, np.uint8) for array in (given, wanted)]
    for copy, array in zip(copies, (given, wanted), strict=True):
        copy[1:] = np.frombuffer(array.tobytes(), np.uint8)
    pointers = [copy.ctypes.data + 1 for copy in copies]
    found = library.tvmcomp_compare(ctypes.byref(tensor), *pointers, TOLERANCE)
    (expected,) = compare({"y": given}, Reference({}, {"y": wanted}), "none")
    return [(found.largest, found.within), (expected.max_difference, expected.within)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_of_every_type(library: ctypes.CDLL, dtype: str) -> None:
    random, kind = np.random.default_rng(0), numpy_dtype(dtype)
    for shape in ((), (7,), (3, 0), (2, 5, 3)):
        scaled = random.standard_normal(shape) * 50
        wanted = (abs(scaled) + 5 if dtype.startswith("u") else scaled).astype(kind)
        noise = random.standard_normal(shape) * random.choice([0, 1e-3, 1], shape)
        given = (wanted.astype("float64") + noise).astype(kind)
        c, python = both(library, given, wanted, dtype)
        assert c == pytest.approx(python, rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_what_is_not_finite(library: ctypes.CDLL, dtype: str) -> None:
    kind = numpy_dtype(dtype)
    values = np.array([np.nan, np.inf, -np.inf, 0.0, 1.5, 2.0**-9], kind)
    tiny = np.array([2], "uint16").view(kind)[:1] if kind.itemsize == 2 else values[:1]
    wanted = np.concatenate([np.repeat(values, len(values)), tiny])
    given = np.concatenate([np.tile(values, len(values)), tiny])
    (largest, within), python = both(library, given, wanted, dtype)
    assert within == python[1]
    assert largest == np.inf
    assert both(library, wanted, wanted, dtype)[0] == (0, 1)
    nothing = np.full(3, np.nan, kind)
    assert both(library, nothing, nothing, dtype)[0] == (0, 1)


def test_a_type_that_it_does_not_know_agrees_in_its_bytes(library: ctypes.CDLL) -> None:
    tensor = Tensor(b"y", b"float8", 1, (ctypes.c_int64 * 1)(4), 4, 64)
    for given, within in ((b"abcd", 1), (b"abce", 0)):
        found = library.tvmcomp_compare(ctypes.byref(tensor), given, b"abcd", TOLERANCE)
        assert found.within == within
