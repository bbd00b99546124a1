"""Calibration samples: .npy, .npz, images, and folders of them."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from functools import cache
from pathlib import Path
from random import Random

import npy
import numpy as np
import odd
from PIL import Image

from tvmcomp.model import Signature, TensorSpec
from tvmcomp.quantize.data import load_samples
from tvmcomp.quantize.images import Preprocess

_ONE = Signature((TensorSpec("x", (1, 3, 8, 8), "float32"),), ())
_TWO = Signature((TensorSpec("x", (1, 4), "float32"), TensorSpec("ids", (1, 3), "int64")), ())
_PREPROCESS = Preprocess(layout="NCHW", color="RGB", scale=1 / 255, resize="letterbox")
_IMAGES = {".png": "PNG", ".jpg": "JPEG", ".bmp": "BMP", ".webp": "WEBP"}


@cache
def _seeds() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    found = {}
    for fortran in (False, True):
        array = rng.standard_normal((5, 3, 8, 8)).astype("float32")
        buffer = io.BytesIO()
        np.save(buffer, np.asfortranarray(array) if fortran else array)
        found[f"fortran{fortran:d}.npy"] = buffer.getvalue()
    for count in (1, 6):
        x, ids = rng.standard_normal((count, 4)).astype("float32"), rng.integers(0, 9, (count, 3))
        for save, name in ((np.savez, "stored"), (np.savez_compressed, "deflated")):
            buffer = io.BytesIO()
            save(buffer, x=x, ids=ids)
            found[f"{name}{count}.npz"] = buffer.getvalue()
    pixels = rng.integers(0, 256, (12, 10, 3)).astype("uint8")
    for suffix, format_ in _IMAGES.items():
        for mode in ("RGB", "L", "RGBA", "P"):
            if format_ == "JPEG" and mode in ("RGBA", "P"):
                continue
            buffer = io.BytesIO()
            exif = Image.Exif()
            exif[0x0112] = 6
            keep = {"exif": exif} if format_ != "BMP" and mode == "RGB" else {}
            Image.fromarray(pixels).convert(mode).save(buffer, format_, **keep)
            found[f"{mode}{suffix}"] = buffer.getvalue()
    return found


def make(rng: Random, folder: Path) -> Path:
    """Write one file of samples, or a folder of some."""
    place = folder / "samples"
    if rng.random() < 0.7:
        name, data = rng.choice(list(_seeds().items()))
        suffix = Path(name).suffix
        if rng.random() < 0.03:
            suffix = rng.choice([".npy", ".npz", ".png", ".NPY", ".txt", ""])
        path = folder / f"samples{suffix}"
        path.write_bytes(_changed(name, data, rng))
        return path
    place.mkdir()
    kinds = rng.choice([(".npy",), (".npz",), tuple(_IMAGES), (".npy", ".npz"), (".npy", ".png")])
    names = [name for name in _seeds() if Path(name).suffix in kinds]
    for index in range(rng.choice([0, 1, 3])):
        name = rng.choice(names)
        data = _seeds()[name]
        (place / f"{index}{Path(name).suffix}").write_bytes(
            _changed(name, data, rng) if rng.random() < 0.5 else data
        )
    _put_odd_file(place, rng, rng.choice(kinds))
    return place


def _put_odd_file(place: Path, rng: Random, suffix: str) -> None:
    """What else may lie in a folder: links, pipes, folders with a file's name."""
    odd_file = place / f"odd{suffix}"
    kind = rng.randrange(9)
    if kind == 0:
        odd_file.symlink_to(odd_file)
    elif kind == 1:
        odd_file.symlink_to("missing")
    elif kind == 2:
        odd_file.mkdir()
    elif kind == 3:
        os.mkfifo(odd_file)
    elif kind == 4:
        with contextlib.suppress(FileExistsError):
            (place / "loop").symlink_to(place)
    elif kind == 5:
        odd_file.write_bytes(b"")
    elif kind == 6:
        os.close(os.open(os.fsencode(place) + b"/\xff\xfe" + suffix.encode(), os.O_CREAT))
    elif kind == 7:
        odd_file.symlink_to("/dev/zero")


def _changed(name: str, data: bytes, rng: Random) -> bytes:
    if name.endswith(".npy"):
        return npy.changed(data, rng)
    if name.endswith(".npz"):
        return npy.changed_npz(data, rng)
    if name.endswith(".png") and rng.random() < 0.6:
        return _other_chunk(data, rng)
    return odd.damaged(data, rng)


def _other_chunk(data: bytes, rng: Random) -> bytes:
    """A PNG with one chunk changed and its checksum right."""
    chunks = []
    at = 8
    while at < len(data):
        (length,) = struct.unpack(">L", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    index = rng.randrange(len(chunks))
    kind, content = chunks[index]
    choice = rng.randrange(5)
    if kind == b"IHDR" and choice < 4:
        width, height = (odd.integer(rng) % (1 << 32) for _ in range(2))
        header = (width, height, *rng.choice([(8, 2), (16, 2), (8, 3), (1, 0), (8, 9), (7, 6)]))
        content = struct.pack(">LLBB", *header) + rng.choice([b"\0\0\0", b"\0\0\1", b"\1\1\1"])
    elif choice == 0:
        content = odd.damaged(content, rng)
    elif choice == 1:
        bomb = zlib.compress(bytes(1 << 24))
        name = rng.choice([b"zTXt", b"iCCP", b"iTXt"])
        chunks.insert(1, (name, b"a\0\0" + (b"\1\0\0" if name == b"iTXt" else b"") + bomb))
        index += 1
        kind, content = chunks[index] if index < len(chunks) else (kind, content)
    elif choice == 2:
        chunks.insert(index, chunks[index])
    elif choice == 3:
        content = zlib.compress(bytes(rng.choice([0, 10, 1 << 26])))
    else:
        kind = bytes(rng.choice([b"IEND", b"PLTE", b"tRNS", b"acTL", b"abcd", b"eXIf"]))
    chunks[index] = (kind, content)
    body = b"".join(
        struct.pack(">L", len(content))
        + kind
        + content
        + struct.pack(">L", zlib.crc32(kind + content))
        for kind, content in chunks
    )
    return data[:8] + body


def read(path: Path) -> None:
    """Read all samples; they have the inputs' forms, and numpy's values where numpy reads them."""
    names = [path, *path.rglob("*")] if path.is_dir() else [path]
    signature = _TWO if any(name.suffix == ".npz" for name in names) else _ONE
    samples = list(load_samples(path, signature, _PREPROCESS, max_samples=100))
    for sample in samples:
        for spec in signature.inputs:
            array = sample[spec.name]
            assert array.shape == spec.shape and array.dtype.name == spec.dtype
            assert np.isfinite(array).all()
    if path.suffix == ".npy":
        _compare(samples, "x", np.load(path))
    elif path.suffix == ".npz":
        with np.load(path) as arrays:
            for spec in signature.inputs:
                _compare(samples, spec.name, arrays[spec.name])


def _compare(samples: list[dict[str, np.ndarray]], name: str, wanted: np.ndarray) -> None:
    found = np.concatenate([sample[name] for sample in samples])
    wanted = wanted.reshape(-1, *found.shape[1:])
    if len(wanted) <= 100:
        np.testing.assert_array_equal(found, wanted.astype(found.dtype))
