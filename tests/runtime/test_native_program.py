"""What is copied, what is not, and whose memory it is."""

from __future__ import annotations

import threading
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from small_artifacts import (
    HERE,
    ROWS,
    compile_and_link,
    dense_artifact,
    dense_module,
    parallel_artifact,
)

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.codegen.compile import link
from tvmcomp.errors import ArtifactError, ToolError
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.runtime import buffers, native_library
from tvmcomp.runtime.buffers import aligned as aligned_weight
from tvmcomp.runtime.session import Session, load
from tvmcomp.tvm_import import tvm

relax = tvm.relax
LARGE = (32, 64)  # 8 KiB: more than a page


def network(
    compute, shape: tuple[int, ...] = LARGE, dtype: str = "float32", outputs: int = 1, weight=None
) -> Session:
    """A session of ``compute(x, weight)``, of one or several outputs, all of x's shape."""
    x = relax.Var("x", relax.TensorType(list(shape), dtype))
    w = relax.Var("w", relax.TensorType(list(shape), dtype))
    builder = relax.BlockBuilder()
    with builder.function("main", [x] if weight is None else [x, w]):
        with builder.dataflow():
            result = builder.emit_output(compute(builder, x, w))
        builder.emit_func_output(result)
    signature = Signature(
        (TensorSpec("x", shape, dtype),),
        tuple(TensorSpec(f"y{i}", shape, dtype) for i in range(outputs)),
    )
    artifact = Artifact.create(
        **compile_and_link(builder.get(), HERE, signature),
        constants={} if weight is None else {"w": weight},
        target=HERE,
        signature=signature,
        source="test",
        source_digest="0" * 64,
    )
    return load(artifact, threads=1)


def double(builder, x, _w):
    return builder.emit(relax.op.add(x, x))


def aligned(shape: tuple[int, ...], dtype: str = "float32", offset: int = 0) -> np.ndarray:
    """Random numbers at an address that is ``offset`` past a multiple of 64."""
    array = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    memory = np.empty(array.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    view = memory[start : start + array.nbytes].view(dtype).reshape(shape)
    view[...] = array
    return view


@pytest.fixture(scope="module")
def doubling() -> Session:
    return network(double)


def arguments_of(session: Session) -> list[int]:
    """Where the arrays of the last run were."""
    return list(session._program._places)


def test_an_aligned_input_is_read_where_it_lies(doubling: Session) -> None:
    x = aligned(LARGE)
    np.testing.assert_array_equal(doubling.run({"x": x})["y0"], 2 * x)
    assert arguments_of(doubling) == [x.ctypes.data]


def test_a_read_only_input_is_read_where_it_lies(doubling: Session) -> None:
    x = aligned(LARGE)
    x.flags.writeable = False
    np.testing.assert_array_equal(doubling.run({"x": x})["y0"], 2 * x)
    assert arguments_of(doubling) == [x.ctypes.data]


@pytest.mark.parametrize(
    "x",
    [
        aligned(LARGE, offset=4),
        aligned(LARGE, offset=3),
        aligned((64, 32)).T,
        aligned((64, 64))[::2],
        np.broadcast_to(aligned((64,)), LARGE),
        aligned((1, *LARGE))[::2][0],
    ],
    ids=["unaligned", "between elements", "transposed", "strided", "broadcast", "view"],
)
def test_however_an_input_lies_the_result_is_right(doubling: Session, x: np.ndarray) -> None:
    np.testing.assert_array_equal(doubling.run({"x": x})["y0"], 2 * x)


def test_a_size_of_one_may_have_any_stride() -> None:
    session = network(double, (1, 1, 8))
    x = aligned((5, 1, 8))[::5]
    assert x.strides[0] > 100
    assert x.flags.c_contiguous
    np.testing.assert_array_equal(session.run({"x": x})["y0"], 2 * x)


def test_copies_of_one_run_do_not_change_the_next(doubling: Session) -> None:
    first, second = aligned(LARGE, offset=4), aligned(LARGE, offset=8) + 1
    one = doubling.run({"x": first})["y0"]
    np.testing.assert_array_equal(doubling.run({"x": second})["y0"], 2 * second)
    np.testing.assert_array_equal(one, 2 * first)


def test_an_output_stays_the_callers(doubling: Session) -> None:
    kept = [doubling.run({"x": np.full(LARGE, value, "float32")})["y0"] for value in range(4)]
    assert all(array.ctypes.data % 64 == 0 and array.flags.writeable for array in kept)
    for value, array in enumerate(kept):
        np.testing.assert_array_equal(array, np.full(LARGE, 2 * value, "float32"))
    kept[0][:] = 7  # the caller's own
    again = doubling.run({"x": np.ones(LARGE, "float32")})["y0"]
    np.testing.assert_array_equal(again, np.full(LARGE, 2, "float32"))
    np.testing.assert_array_equal(kept[0], np.full(LARGE, 7, "float32"))


def test_an_output_outlives_its_session() -> None:
    session = network(double)
    output = session.run({"x": np.ones(LARGE, "float32")})["y0"]
    session.close()
    np.testing.assert_array_equal(output, np.full(LARGE, 2, "float32"))


def test_a_small_output_takes_no_more_than_it_needs() -> None:
    output = network(double, (4,)).run({"x": np.ones(4, "float32")})["y0"]
    assert output.flags.owndata


def test_an_input_that_is_an_output_is_copied() -> None:
    session = network(lambda builder, x, w: x)
    x = aligned(LARGE)
    for _ in range(2):
        output = session.run({"x": x})["y0"]
        np.testing.assert_array_equal(output, x)
        assert not np.shares_memory(output, x)


def test_a_reshaped_input_is_copied() -> None:
    session = network(
        lambda builder, x, w: builder.emit(relax.op.reshape(builder.emit(x), (64, 32))),
        (64, 32),
    )
    x = aligned((64, 32), offset=4)
    first = session.run({"x": x})["y0"]
    session.run({"x": aligned((64, 32), offset=4) + 1})
    np.testing.assert_array_equal(first, x)


def test_a_weight_that_is_an_output_is_copied() -> None:
    weight = aligned(LARGE)
    session = network(lambda builder, x, w: w, weight=weight)
    x = np.zeros(LARGE, "float32")
    session.run({"x": x})["y0"][:] = 0
    np.testing.assert_array_equal(session.run({"x": x})["y0"], weight)


def test_one_tensor_as_two_outputs_is_two_arrays() -> None:
    def twice(builder, x, w):
        y = double(builder, x, w)
        return relax.Tuple([y, y])

    outputs = network(twice, outputs=2).run({"x": np.ones(LARGE, "float32")})
    outputs["y0"][:] = 5
    np.testing.assert_array_equal(outputs["y1"], np.full(LARGE, 2, "float32"))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "float16", "float64", "bfloat16"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 5, 7), LARGE])
def test_types_and_shapes(dtype: str, shape: tuple[int, ...]) -> None:
    session = network(double, shape, dtype)
    numpy_type = np.dtype(getattr(ml_dtypes, dtype, dtype))
    x = np.asarray(np.random.default_rng(0).integers(0, 50, shape)).astype(numpy_type)
    output = session.run({"x": x})["y0"]
    assert (output.dtype, output.shape) == (x.dtype, shape)
    np.testing.assert_array_equal(output, x + x)


def test_booleans() -> None:
    session = network(lambda b, x, w: b.emit(relax.op.logical_not(x)), (70,), "bool")
    x = np.random.default_rng(0).integers(0, 2, 70).astype(bool)
    np.testing.assert_array_equal(session.run({"x": x})["y0"], ~x)


def test_weights_are_used_where_the_file_was_read_to(tmp_path: Path) -> None:
    path = tmp_path / "dense.tvmc"
    dense_artifact().save(path)
    artifact = Artifact.load(path)
    assert [aligned_weight(array) is array for array in artifact.constants] == [True, True]
    assert str(path) not in Path("/proc/self/maps").read_text()  # a change of it is not seen


def test_weights_of_any_address_are_placed() -> None:
    weight = aligned(LARGE, offset=4)
    session = network(lambda b, x, w: b.emit(relax.op.add(x, w)), weight=weight)
    x = aligned(LARGE)
    np.testing.assert_array_equal(session.run({"x": x})["y0"], x + weight)


def test_timing_copies_nothing() -> None:
    session = network(double)
    session.set_inputs({"x": aligned(LARGE, offset=4)})
    assert len(session.time(3)) == 3
    assert session._program._arrays[0].ctypes.data % 64 == 0


def test_an_array_that_is_a_subclass_or_read_only(tmp_path: Path) -> None:
    x = aligned(LARGE)
    np.save(tmp_path / "x.npy", x)
    session = network(double)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(session.run({"x": mapped})["y0"], 2 * x)


def test_addresses_are_numpys() -> None:
    for dtype in ("float32", "bool", "float16", ml_dtypes.bfloat16, "int64"):
        for shape in ((), (0,), (3,), (4, 5)):
            array = np.zeros(shape, dtype)
            array.flags.writeable = False
            assert buffers.address(array) == array.ctypes.data
            assert buffers.address(array[..., :1] if shape else array) == array.ctypes.data
    array = np.arange(10)
    assert buffers.address(array[3:]) == array.ctypes.data + 24


def test_addresses_without_numpys_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "_DATA_POINTER", None)
    x = aligned(LARGE)
    assert buffers.address(x) == x.ctypes.data
    np.testing.assert_array_equal(network(double).run({"x": x})["y0"], 2 * x)


def test_other_threads_run_meanwhile() -> None:
    session = load(parallel_artifact(), threads=1)
    x = {"x": np.ones(ROWS, "float32")}
    session.run(x)
    counted, stop = [0], threading.Event()

    def count() -> None:
        while not stop.is_set():
            counted[0] += 1

    thread = threading.Thread(target=count)
    thread.start()
    before = counted[0]
    session.run(x)  # some ms, in C
    during = counted[0] - before
    stop.set()
    thread.join()
    assert during > 0


def test_sessions_share_one_library(tmp_path: Path) -> None:
    path = tmp_path / "dense.tvmc"
    dense_artifact().save(path)
    sessions = [load(path), load(path), load(dense_artifact())]
    assert len({id(session._program.library) for session in sessions}) == 1


def test_a_library_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_library, "_ABI", 999)
    with pytest.raises(ArtifactError, match="calls version 999"):
        network(double, (7, 3))


def test_a_library_of_something_else() -> None:
    """As those of TVM's virtual machine were."""
    made = dense_artifact()
    executable = tvm.compile(dense_module(), tvm.target.Target(HERE.tvm_target_dict()))
    other = Artifact.create(
        library=link(executable, HERE), constants={}, target=HERE, source="s", source_digest="0",
        signature=made.metadata.signature,
    )  # fmt: skip
    with pytest.raises(ArtifactError, match="tvmcomp_library") as caught:
        load(other)
    assert "Build the artifact again" in str(caught.value)


def test_a_file_that_is_no_library() -> None:
    made = dense_artifact()
    wrong = Artifact.create(
        library=b"\x7fELF", constants={}, target=HERE, signature=made.metadata.signature,
        source="s", source_digest="0",
    )  # fmt: skip
    with pytest.raises(ToolError, match="can't be loaded"):
        load(wrong)
