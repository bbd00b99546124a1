"""What a process that runs artifacts loads of TVM; each case in a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from small_artifacts import HERE, compile_and_link, dense_artifact
from waiting import run

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.tvm_import import tvm

TESTS = Path(__file__).parents[1]


def run_alone(code: str) -> str:
    """What ``code`` prints."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TVM_")}
    environment["PYTHONPATH"] = str(TESTS)
    command = [sys.executable, "-c", code]
    done = run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "dense.tvmc"
    dense_artifact().save(path)
    return path


LOAD_AND_RUN = """
import sys, numpy as np, tvmcomp
session = tvmcomp.load({path!r})
y = session.run(session.artifact.reference.inputs)["y"]
np.testing.assert_allclose(y, session.artifact.reference.outputs["y"], rtol=1e-5, atol=1e-6)
"""


def test_running_needs_neither_the_compiler_nor_tvms_package(path: Path) -> None:
    code = LOAD_AND_RUN + (
        'print([n for n in ("tvm", "torch", "rich", "click", "onnx") if n in sys.modules])\n'
        "from tvmcomp.runtime.bench import benchmark\n"
        "from tvmcomp.runtime.profile import profile\n"
        "benchmark(session, 10); profile(session, 2)\n"
        'print("libtvm_compiler" in open("/proc/self/maps").read())\n'
    )
    assert run_alone(code.format(path=str(path))).split() == ["[]", "False"]


def test_a_process_that_ran_an_artifact_can_compile_and_run_on(path: Path) -> None:
    code = LOAD_AND_RUN + (
        "from small_artifacts import one_kernel_artifact\n"
        'doubled = tvmcomp.load(one_kernel_artifact("double"))\n'
        'print(doubled.run({{"x": np.array([4], "float32")}})["y"])\n'
        "again = session.run(session.artifact.reference.inputs)\n"
        'print(bool((again["y"] == y).all()))\n'
    )
    assert run_alone(code.format(path=str(path))).split() == ["[8.]", "True"]


def test_kernels_that_call_sort(tmp_path: Path) -> None:
    relax = tvm.relax
    x = relax.Var("x", relax.TensorType([100], "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(relax.op.sort(x))
        builder.emit_func_output(result)
    spec = Signature((TensorSpec("x", (100,), "float32"),), (TensorSpec("y", (100,), "float32"),))
    library = compile_and_link(builder.get(), HERE)
    assert b"tvm.contrib.sort" in library
    Artifact.create(
        library=library, constants={}, target=HERE, signature=spec, source="s", source_digest="0"
    ).save(tmp_path / "sort.tvmc")
    code = (
        "import numpy as np, tvmcomp\n"
        'x = np.random.default_rng(0).standard_normal(100).astype("float32")\n'
        f'y = tvmcomp.load({str(tmp_path / "sort.tvmc")!r}).run({{"x": x}})["y"]\n'
        "print(bool((y == np.sort(x)).all()))\n"
    )
    assert run_alone(code).split() == ["True"]


def test_rpc_has_tvms_package_without_the_compiler() -> None:
    code = (
        "from tvmcomp.runtime.tvm_runtime import prefer_runtime_library\n"
        "prefer_runtime_library()\n"
        "from tvmcomp.tvm_import import tvm\n"
        'print(tvm.get_global_func("tvm.contrib.sort.argsort") is not None)\n'
        'print("libtvm_compiler" in open("/proc/self/maps").read())\n'
    )
    assert run_alone(code).split() == ["True", "False"]


def test_the_settings_of_a_person_are_kept() -> None:
    code = (
        "import os\n"
        'os.environ["TVM_THREAD_POOL_SPIN_COUNT"] = "7"\n'
        "import tvmcomp.ffi_import\n"
        'print(os.environ["TVM_THREAD_POOL_SPIN_COUNT"])\n'
    )
    assert run_alone(code).split() == ["7"]
