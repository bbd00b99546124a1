"""What a session takes it gives back: memory, mappings, files and folders, cycle after cycle."""

from __future__ import annotations

import gc
import os
import random
import threading
from pathlib import Path

import numpy as np
import pytest
from small_artifacts import (
    dense_artifact,
    dense_reference,
    dense_weights,
    one_kernel_artifact,
    parallel_artifact,
    parallel_reference,
)

from tvmcomp.runtime.profile import profile
from tvmcomp.runtime.session import load

CYCLES = 300


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "dense.tvmc"
    dense_artifact().save(path)
    return path


def mapped_libraries() -> int:
    return sum(
        ".so" in line and "/tmp" in line
        for line in Path("/proc/self/maps").read_text().splitlines()
    )


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def sample(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, 8)).astype("float32")


@pytest.mark.slow
@pytest.mark.ci
def test_cycles_of_load_run_and_close(path: Path) -> None:
    def cycle(seed: int) -> None:
        x = sample(seed)
        with load(path, threads=1) as session:
            outputs = session.run({"x": x})
            session.time(2)
        np.testing.assert_allclose(
            outputs["y"], dense_reference(x, dense_weights())["y"], 1e-5, 1e-6
        )

    for seed in range(30):  # fills what is kept for good
        cycle(seed)
    gc.collect()
    libraries, files, memory = mapped_libraries(), open_files(), resident_mib()
    for seed in range(CYCLES):
        cycle(seed)
    gc.collect()
    assert mapped_libraries() == libraries
    assert open_files() == files
    assert resident_mib() - memory < 1


def test_a_library_is_unmapped_with_its_last_session(path: Path) -> None:
    gc.collect()
    before = mapped_libraries()
    first, second = load(path), load(path)
    assert mapped_libraries() > before
    profile(first, 1)
    outputs = first.run({"x": sample(0)})
    first.close()
    assert mapped_libraries() > before
    np.testing.assert_array_equal(second.run({"x": sample(0)})["y"], outputs["y"])
    second.close()
    assert mapped_libraries() == before
    np.testing.assert_allclose(
        outputs["y"], dense_reference(sample(0), dense_weights())["y"], 1e-5, 1e-6
    )


def test_a_session_that_nobody_closed() -> None:
    gc.collect()
    before = mapped_libraries()
    load(one_kernel_artifact("double")).run({"x": np.ones(1, "float32")})
    gc.collect()
    assert mapped_libraries() == before


def test_threads_load_run_and_close_at_the_same_time(path: Path) -> None:
    """Eight threads run on two sessions that stay, and on others that come and go."""
    shared = [load(path, threads=1), load(parallel_artifact(), threads=min(2, os.cpu_count() or 1))]
    failures: list[str] = []

    def work(seed: int) -> None:
        choose = random.Random(seed)
        kept = []
        for step in range(25):
            x = sample(seed * 1000 + step)
            wanted = dense_reference(x, dense_weights())["y"]
            if choose.random() < 0.5:
                y = shared[0].run({"x": x})["y"]
            else:
                with load(path, threads=1) as session:
                    y = session.run({"x": x})["y"]
            kept.append((y, wanted))
            if step % 8 == seed % 8:
                whole = np.arange(8, dtype="float32") + seed
                y = shared[1].run({"x": whole})["y"]
                kept.append((y, parallel_reference(whole)))
        failures.extend(f"{seed}" for y, w in kept if not np.allclose(y, w, 1e-5, 1e-6))

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert not worker.is_alive()
    assert failures == []
