"""Coded weights: what numpy codes the C runtime decodes, under compilers, sanitizers, emulators."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from compilers import ADDRESSES, ARMV7, GCC, MUSL, RACES, THREADLESS, ZIG, Variant, run
from emulated import emulator

from tvmcomp.artifact.coded import coded
from tvmcomp.artifact.rans import TOTAL, frequencies, table_bytes

RNG = np.random.default_rng(0)
#: The constants of ``network.c``.
NETWORK = [np.array((*row, *[0] * 1000), np.uint32)[:1000] for row in (
    (1, 2, 3), (7,), (9, 8), (1,), (5,), (4, 4)
)]  # fmt: skip
CHECKS = ("shared", "embedded", "in_a_child", "in_threads")


def rounded(bits: int, *shape: int) -> np.ndarray:
    """Normally distributed weights of ``bits``."""
    limit = 2 ** (bits - 1) - 1
    return np.clip(np.rint(RNG.normal(size=shape) * limit / 2.5), -limit, limit).astype(np.int8)


def sparse(share: float, *shape: int) -> np.ndarray:
    return np.where(RNG.random(shape) < share, 0, rounded(8, *shape)).astype(np.int8)


def networks() -> dict[str, list[np.ndarray]]:
    steps = np.linspace(-6, 6, 256)
    book = RNG.normal(size=16).astype(np.float32)
    return {
        "few bits": [
            rounded(4, 64, 100),
            RNG.uniform(0.01, 0.02, 64).astype(np.float32),
            RNG.integers(-3000, 3000, 64).astype(np.int32),
            rounded(4, 16, 9),
            RNG.uniform(0.01, 0.02, 50).astype(ml_dtypes.bfloat16),
            RNG.uniform(0.01, 0.02, 300).astype(np.float32),
            rounded(3, 5000),
        ],
        "blocks": [rounded(8, size) for size in (65536, 65535, 65537, 131072, 200_003, 4097)],
        "sparse": [sparse(0.8, 300, 300), sparse(0.99, 300, 300), np.zeros(5000, np.int8)],
        "tables": [
            np.rint(255 / (1 + np.exp(-a * steps))).astype(np.uint8) for a in (0.5, 1, 2, 4)
        ],
        "clusters": [
            book[RNG.integers(0, 16, (64, 100))],
            book[RNG.integers(0, 16, 5000)].astype(ml_dtypes.bfloat16),
            np.array([0.0, -0.0, np.inf, 1e-45, 3.0], np.float32)[RNG.integers(0, 5, 999)],
        ],
        "floats": [RNG.normal(size=20_000).astype(kind) for kind in ("f4", "f2", "f8")],
        "network": NETWORK,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("coded")


def program(variant: Variant, folder: Path) -> Path:
    made = folder / f"check_weights-{variant.name}"
    return made if made.exists() else variant.program("check_weights", folder)


def written(arrays: list[np.ndarray], folder: Path) -> tuple[Path, tuple[str, ...]]:
    """The file of ``arrays``, which are all coded, and their sizes."""
    made = coded(arrays)
    assert made.positions == frozenset(range(len(arrays)))
    path = folder / "coded"
    path.write_bytes(made.data)
    return path, tuple(str(array.nbytes) for array in arrays)


@pytest.mark.parametrize("name", networks())
def test_what_comes_out_is_what_went_in(name: str, folder: Path) -> None:
    arrays = networks()[name]
    path, sizes = written(arrays, folder)
    command = [str(program(ZIG, folder)), "shown", str(path), *sizes]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    assert found == b"".join(array.tobytes() for array in arrays)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("name", ["few bits", "blocks", "clusters", "tables", "network"])
def test_damage_is_an_error_and_nothing_else(name: str, folder: Path) -> None:
    path, sizes = written(networks()[name], folder)
    run(program(ADDRESSES, folder), "damaged", more=(str(path), *sizes))


@pytest.mark.parametrize(
    ("variant", "check"),
    [*itertools.product((GCC, ADDRESSES, MUSL), CHECKS), (RACES, "in_threads"),
     *itertools.product((THREADLESS,), CHECKS)],
    ids=lambda of: getattr(of, "name", of),
)  # fmt: skip
def test_contexts_share_them(variant: Variant, check: str, folder: Path) -> None:
    path, _ = written(NETWORK, folder)
    run(program(variant, folder), check, more=(str(path),))


@pytest.mark.slow
@pytest.mark.parametrize("check", ["shared", "in_threads"])
def test_on_a_processor_of_32_bits(check: str, folder: Path) -> None:
    path, _ = written(NETWORK, folder)
    run(program(ARMV7, folder), check, emulator("armv7l-linux"), more=(str(path),))


@pytest.mark.parametrize(
    ("array", "most"),
    [
        (rounded(8, 300_000), 0.97),
        (rounded(6, 300_000), 0.75 * 0.96),
        (rounded(5, 300_000), 0.625 * 0.94),
        (rounded(4, 300_000), 0.5 * 0.9),
        (rounded(3, 300_000), 0.375 * 0.8),
        (sparse(0.8, 300_000), 0.3),
        (RNG.normal(size=300_000).astype(np.float32), 0.9),
    ],
    ids=["8 bits", "6 bits", "5 bits", "4 bits", "3 bits", "sparse", "float32"],
)
def test_weights_of_every_kind_gain(array: np.ndarray, most: float) -> None:
    """Of what they take packed: 4 of 8 bits, and so on."""
    size = len(coded([array]).data)
    assert size < most * array.nbytes
    if array.itemsize == 1:
        counts = np.unique(array, return_counts=True)[1] / array.size
        assert size * 8 / array.size < 1.01 * -(counts @ np.log2(counts))


def test_what_would_gain_little_is_left() -> None:
    noise = RNG.integers(0, 256, 100_000).astype(np.uint8)
    made = coded([noise, rounded(4, 5000), np.zeros((0, 3), np.float32), np.array(3, np.int64)])
    assert made.positions == {1, 3}
    assert coded([noise]) == (frozenset(), b"")
    assert coded([]) == (frozenset(), b"")


def test_like_constants_share_a_table() -> None:
    large = [rounded(8, 40_000) for _ in range(6)]
    assert len(coded(large).data) < sum(len(coded([each]).data) for each in large) - 5 * 200
    small = [rounded(8, 1000) for _ in range(40)]
    assert not coded(small[:1]).positions and len(coded(small).data) < 0.98 * 40_000


def test_frequencies_have_the_total_that_decoding_needs() -> None:
    for counts in ([1], [1, 0, 10**9], [1] * 256, [10**6, *[1] * 255], [0, 0, 5, 7], [3] * 255):
        padded = np.array([*counts, *[0] * (256 - len(counts))])
        found = frequencies(padded)
        assert found.sum() == TOTAL and ((found > 0) == (padded > 0)).all()


def test_tables_are_as_short_as_what_they_say() -> None:
    one = np.zeros(256, np.int64)
    one[7] = TOTAL
    assert table_bytes(one) == bytes([0, 6, 128 | 16, 0, 0, 247])
    assert table_bytes(np.full(256, 16)) == bytes([16]) * 256
