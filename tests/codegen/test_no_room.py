"""No room for what the linker and the loader write: one error, and the process lives on."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from small_artifacts import HERE, dense_artifact
from small_disk import small_disk

from tvmcomp.codegen import compile as code
from tvmcomp.codegen.native.emit import emit
from tvmcomp.errors import ArtifactError, InputError, ToolError
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.passes.pipeline import lower
from tvmcomp.runtime.arrays import write_npz
from tvmcomp.runtime.session import load
from tvmcomp.tvm_import import tvm


@pytest.fixture(scope="module")
def executable() -> Any:
    """Adds a constant of 256 KiB."""
    relax = tvm.relax
    x = relax.Var("x", relax.TensorType([1 << 16], "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            values = np.random.default_rng(0).standard_normal(1 << 16).astype("float32")
            result = builder.emit_output(relax.op.add(x, relax.const(values)))
        builder.emit_func_output(result)
    return tvm.compile(builder.get(), tvm.target.Target(HERE.tvm_target_dict()))


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("kib", [0, 40, 300, 500])
def test_linking_on_a_small_disk(
    executable: Any, kib: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One page is the least that can be mounted; a full disk is one that a file fills.
    with small_disk(tmp_path, max(kib, 4)):
        if kib == 0:
            (tmp_path / "fill").write_bytes(bytes(4096))
        before = list(tmp_path.iterdir())
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        with pytest.raises(ToolError, match=r"write|no room|full") as caught:
            code.link(executable, HERE)
        assert "TMPDIR" in str(caught.value)
        assert list(tmp_path.iterdir()) == before
    monkeypatch.undo()
    assert code.link(executable, HERE).startswith(b"\x7fELF")


@pytest.mark.parametrize("size", [1, 10_000, 100_000])
def test_linking_with_a_limit_on_files(
    executable: Any, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with (
        file_size_limit(size),
        pytest.raises(ToolError, match=f"files of {size} bytes at most") as caught,
    ):
        code.link(executable, HERE)
    assert "ulimit" in str(caught.value)
    with file_size_limit(1 << 24):  # one that is large enough
        assert code.link(executable, HERE).startswith(b"\x7fELF")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [1, 2_000])
def test_kernels_with_a_limit_on_files(size: int) -> None:
    """LLVM leaves the process where it can't write."""
    lowered = lower(softmax(), HERE)
    spec = TensorSpec("x", (4, 64), "float32")
    with file_size_limit(size), pytest.raises(ToolError, match=f"files of {size} bytes at most"):
        emit([lowered], HERE, [Signature((spec,), (spec,))])
    with file_size_limit(1 << 24):
        emitted = emit([lowered], HERE, [Signature((spec,), (spec,))])
    assert emitted.kernels.startswith(b"\x7fELF")


def softmax() -> Any:
    """A network of one kernel, of more than 2 kB."""
    relax = tvm.relax
    x = relax.Var("x", relax.TensorType([4, 64], "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(relax.op.nn.softmax(x))
        builder.emit_func_output(result)
    return builder.get()


def test_loading_on_a_small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = dense_artifact()
    with small_disk(tmp_path, 4):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        with pytest.raises(ToolError, match="No space left") as caught:
            load(artifact)
        assert "TMPDIR" in str(caught.value)
        assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    load(artifact)


def test_loading_with_a_limit_on_files() -> None:
    artifact = dense_artifact()
    with file_size_limit(1000), pytest.raises(ToolError, match="File too large") as caught:
        load(artifact)
    assert "ulimit" in str(caught.value)


def test_loading_where_nothing_may_be_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path, 1000, ",noexec"):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        with pytest.raises(ToolError, match="can't be loaded") as caught:
            load(dense_artifact())
        assert "noexec" in str(caught.value)
        assert list(tmp_path.iterdir()) == []


def test_no_temporary_folder_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")
    with pytest.raises(ToolError, match="can't make a temporary folder"):
        load(dense_artifact())


@pytest.mark.parametrize("kib", [4, 8, 12])
def test_writing_to_a_small_disk(kib: int, tmp_path: Path) -> None:
    with small_disk(tmp_path, kib):
        with pytest.raises(ArtifactError, match="can't be written: No space left"):
            dense_artifact().save(tmp_path / "net.tvmc")
        with pytest.raises(InputError, match="can't be written: No space left"):
            write_npz(tmp_path / "out.npz", {"y": np.zeros(kib << 10)})
        assert list(tmp_path.iterdir()) == []
    with file_size_limit(1000), pytest.raises(ArtifactError, match="File too large"):
        dense_artifact().save(tmp_path / "net.tvmc")
    assert list(tmp_path.iterdir()) == []


def test_a_limit_is_found_beside_a_library_that_waits_for_its_threads(
    executable: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of a forked process ONNX Runtime would wait for ever."""
    numbers = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [64, 64])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [64, 64])
    product = onnx.helper.make_node("MatMul", ["x", "x"], ["y"])
    graph = onnx.helper.make_graph([product], "g", [numbers], [result])
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    session.run(None, {"x": np.ones((64, 64), "float32")})
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with file_size_limit(10_000), pytest.raises(ToolError, match="10000 bytes at most"):
        code.link(executable, HERE)
