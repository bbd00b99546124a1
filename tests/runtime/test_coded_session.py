"""Sessions of artifacts whose weights are coded: the bits of the others, decoded once."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest
import tvm
from small_artifacts import HERE, compile_and_link
from tvm import relax

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.errors import DeviceError
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.runtime.session import load

SHAPE = (64, 1024)
X = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)


def weight(rows: int) -> np.ndarray:
    """Floats of 15 values."""
    values = np.random.default_rng(0).integers(-7, 8, (rows, SHAPE[1]))
    return values.astype(np.float32) / 8


@pytest.fixture(scope="module")
def plain() -> Artifact:
    """y = x + w + b; ``b``, noise, gains nothing from coding."""
    x, w = (relax.Var(name, relax.TensorType(list(SHAPE), "float32")) for name in "xw")
    b = relax.Var("b", relax.TensorType([SHAPE[1]], "int32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x, w, b]):
        with builder.dataflow():
            y = builder.emit(relax.op.add(x, w))
            y = builder.emit(relax.op.add(y, relax.op.astype(b, "float32")))
            result = builder.emit_output(y)
        builder.emit_func_output(result)
    spec = TensorSpec("x", SHAPE, "float32")
    signature = Signature((spec,), (msgspec.structs.replace(spec, name="y"),))
    noise = np.random.default_rng(2).integers(-(2**31), 2**31, SHAPE[1]).astype(np.int32)
    return Artifact.create(
        **compile_and_link(builder.get(), HERE, signature),
        constants={"w": weight(SHAPE[0]), "b": noise},
        target=HERE,
        signature=signature,
        source="test",
        source_digest="0" * 64,
    )


@pytest.fixture
def path(plain: Artifact, tmp_path: Path) -> Path:
    plain.small().save(tmp_path / "net.tvmc")
    return tmp_path / "net.tvmc"


def outputs(artifact: Artifact) -> np.ndarray:
    with load(artifact, threads=1) as session:
        return session.run({"x": X})["y"]


def test_the_bits_are_those_of_weights_as_they_are(plain: Artifact, path: Path) -> None:
    loaded = Artifact.load(path)
    assert [array is None for array in loaded.constants] == [True, False]
    assert loaded.constants_nbytes_in_file < 0.15 * plain.constants_nbytes
    for artifact in (plain.small(), loaded):
        np.testing.assert_array_equal(outputs(artifact), outputs(plain))


def test_sessions_share_what_was_decoded_and_may_close_in_any_order(
    plain: Artifact, path: Path
) -> None:
    wanted = outputs(plain)
    sessions = [load(path, threads=1) for _ in range(3)]
    for session in (sessions[1], sessions[0], sessions[2]):
        np.testing.assert_array_equal(session.run({"x": X})["y"], wanted)
        session.close()

    def work() -> None:
        for _ in range(20):
            right.append((outputs(Artifact.load(path)) == wanted).all())

    right: list[bool] = []
    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert len(right) == 80 and all(right)


@pytest.mark.slow
@pytest.mark.ci
def test_memory_is_given_back(path: Path) -> None:
    def resident() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    for _ in range(50):
        load(path, threads=1).close()
    before = resident()
    for _ in range(300):
        load(path, threads=1).close()
    assert resident() < before + (1 << 20)  # 300 times the weights are 75 MB


def test_damaged_weights_are_an_error(plain: Artifact) -> None:
    made = plain.small()
    coded = made.coded.copy()
    coded[coded.size // 2] ^= 1
    with pytest.raises(DeviceError, match="coded weights are damaged"):
        load(msgspec.structs.replace(made, coded=coded))
    raw = [None if array is None else np.asarray(array) for array in made.constants]
    raw[0], raw[1] = weight(SHAPE[0]), None  # the stream holds the other one
    with pytest.raises(DeviceError, match="coded weights are damaged"):
        load(msgspec.structs.replace(made, constants=raw))


def test_over_tvms_interface_the_board_decodes(plain: Artifact, tmp_path: Path) -> None:
    made = plain.small()
    (tmp_path / "lib.so").write_bytes(made.library)
    library = tvm.runtime.load_module(str(tmp_path / "lib.so"))
    cpu = tvm.cpu()
    left, coded = (tvm.runtime.tensor(np.array(a), cpu) for a in (made.constants[1], made.coded))
    x, y = tvm.runtime.tensor(X, cpu), tvm.runtime.empty(SHAPE, "float32", cpu)
    context = library["open"](0, 1, 0, None, left, coded)
    library["run"](context, x, y)
    np.testing.assert_array_equal(y.numpy(), outputs(plain))
    library["close"](context)
    for wrong in ((None, left), (None, left, left), (None, None, coded), (left, left, coded)):
        with pytest.raises(Exception, match=r"damaged|missing, misaligned"):
            library["open"](0, 1, 0, *wrong)
