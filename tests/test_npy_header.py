"""Headers of .npy arrays: numpy's own are read, any other text is one ValueError."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from tvmcomp.npy_header import read_header


def header(text: str, version: tuple[int, int] = (1, 0)) -> io.BytesIO:
    length = struct.pack("<H" if version == (1, 0) else "<L", len(text))
    return io.BytesIO(b"\x93NUMPY" + bytes(version) + length + text.encode())


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3), (1,) * 40])
@pytest.mark.parametrize("dtype", ["<f4", ">i8", "bool", "float16", "<U3"])
def test_what_numpy_writes_is_read(shape: tuple[int, ...], dtype: str) -> None:
    buffer = io.BytesIO()
    array = np.zeros(shape, dtype, order="F")
    np.save(buffer, array)
    buffer.seek(0)
    found, fortran_order, found_dtype = read_header(buffer)
    assert (found, found_dtype) == (shape, np.dtype(dtype))
    assert fortran_order == (array.flags.f_contiguous and not array.flags.c_contiguous)
    assert len(buffer.read()) == array.nbytes


DESCRS = ("1", "None", "[1]", "'<f999'", "[('a', 1)]", "[[]]")
SHAPES = ("(-1,)", "(True,)", "[1]", "1", "(1.0,)", "(1,", "(" * 200 + ")" * 200, "('a',)", "None")
PAIRS = [*((descr, "(1,)") for descr in DESCRS), *(("'<f4'", shape) for shape in SHAPES)]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "{",
            "(" * 300,
            "[" * 9000,
            "{'a': " * 400,
            "1",
            "'x'",
            "\0",
            "{}",
            "a.b",
            "\n  \n x",
        ),
        *(f"{{'descr': {d}, 'fortran_order': False, 'shape': {s}}}" for d, s in PAIRS),
    ],
)
def test_any_other_text_is_one_error(text: str) -> None:
    for version in ((1, 0), (2, 0)):
        with pytest.raises(ValueError):
            read_header(header(text, version))


@pytest.mark.parametrize("version", [(0, 0), (3, 0), (9, 9)])
def test_other_versions_are_refused(version: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="version"):
        read_header(header("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", version))
