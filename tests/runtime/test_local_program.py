"""What is copied, what is not, and whose memory it is."""

from __future__ import annotations

import ctypes
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from small_artifacts import HERE, compile_and_link, dense_artifact

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.errors import ArtifactError
from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.runtime import tensors
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
    artifact = Artifact.create(
        library=compile_and_link(builder.get(), HERE),
        constants={} if weight is None else {"w": weight},
        target=HERE,
        signature=Signature(
            (TensorSpec("x", shape, dtype),),
            tuple(TensorSpec(f"y{i}", shape, dtype) for i in range(outputs)),
        ),
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
    """Where the tensors of the last run were."""
    return [tensor.data_ptr() for tensor in session._program._arguments]


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
        aligned((64, 32)).T,
        aligned((64, 64))[::2],
        np.broadcast_to(aligned((64,)), LARGE),
        aligned((1, *LARGE))[::2][0],
    ],
    ids=["unaligned", "transposed", "strided", "broadcast", "view"],
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


def test_a_large_output_is_not_copied_and_stays_the_callers(doubling: Session) -> None:
    kept = [doubling.run({"x": np.full(LARGE, value, "float32")})["y0"] for value in range(4)]
    assert all(not array.flags.owndata and array.flags.writeable for array in kept)
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


def test_a_small_output_holds_no_page_of_the_allocator() -> None:
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
    session = load(artifact)
    placed = [tensor.data_ptr() for tensor in session._program._constants]
    assert placed == [array.ctypes.data for array in artifact.constants]
    assert str(path) not in Path("/proc/self/maps").read_text()  # a change of it is not seen


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn"])
def test_a_type_that_numpy_does_not_know(dtype: str) -> None:
    """It can't be shared through numpy; it is copied bit by bit."""
    array = np.array([1.5, -3.25, 100], getattr(ml_dtypes, dtype))
    tensor = tensors.in_place_or_copied(array)
    assert isinstance(tensor, tvm_ffi.Tensor)
    assert tensor.dtype == dtype
    back = tensors.as_array(tensor, array.dtype)
    del tensor
    assert back.tobytes() == array.tobytes()


def test_another_number_of_outputs_than_the_signature_lists() -> None:
    session = network(double, outputs=2)
    with pytest.raises(ArtifactError, match="returned 1 outputs, its signature lists 2"):
        session.run({"x": np.ones(LARGE, "float32")})


def test_a_closed_session_gives_its_memory_back() -> None:
    """TVM's pool keeps what was freed; with the session it goes back to the system."""
    shape = (1024, 2048)  # 8 MiB
    session = network(double, shape)
    x = {"x": np.ones(shape, "float32")}
    ctypes.CDLL(None).malloc_trim(0)  # nothing that earlier tests freed is there to be used again
    before = resident()
    outputs = [session.run(x) for _ in range(4)]
    del outputs
    assert resident() - before > 24 << 20
    session.close()
    assert resident() - before < 12 << 20


def resident() -> int:
    """Bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
