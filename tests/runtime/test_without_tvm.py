"""What running artifacts imports, where nothing of the compiler can be imported.

Each case is a process of its own. :mod:`test_wheel` does it in an environment without TVM.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from small_artifacts import HERE, compile_and_link, dense_artifact
from waiting import run

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.tvm_import import tvm

TESTS = Path(__file__).parents[1]
#: Put before each case: what is not needed to run artifacts can't be imported.
BLOCKED = """
import importlib.abc, sys

NEEDED = {"tvmcomp", "numpy", "msgspec", "ml_dtypes", "click", "rich"}
RICH = {"markdown_it", "mdurl", "pygments"}


class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in NEEDED | RICH | sys.stdlib_module_names or top.startswith("_"):
            return None
        raise ImportError(f"{name} is blocked")


sys.meta_path.insert(0, Blocked())
"""


def run_alone(code: str) -> str:
    """What ``code`` prints."""
    command = [sys.executable, "-c", BLOCKED + code]
    done = run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "dense.tvmc"
    dense_artifact().save(path)
    return path


LOAD_AND_RUN = """
import numpy as np, tvmcomp
session = tvmcomp.load({path!r}, threads=1)
y = session.run(session.artifact.reference.inputs)["y"]
assert np.allclose(y, session.artifact.reference.outputs["y"], rtol=1e-5, atol=1e-6)
"""


def test_loading_and_running_needs_little(path: Path) -> None:
    code = (
        LOAD_AND_RUN
        + """
own = {{n.partition(".")[0] for n in sys.modules}} - set(sys.stdlib_module_names)
print(sorted(n for n in own if not n.startswith("_")))
"""
    )
    found = run_alone(code.format(path=str(path))).strip()
    assert found == str(["msgspec", "numpy", "tvmcomp"])


def test_bench_profile_and_evaluate(path: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    data = tmp_path / "data.npz"
    np.savez(data, x=random.standard_normal((6, 1, 8)).astype("float32"), label=np.zeros(6, int))
    code = (
        LOAD_AND_RUN
        + """
from tvmcomp.runtime.profile import profile
assert tvmcomp.bench({path!r}, 10, threads=1).runs == 10
assert len(profile(session, 2)) == 4
result = tvmcomp.evaluate({path!r}, {data!r}, "top1", output="y", threads=1)
print(result.samples)
"""
    )
    assert run_alone(code.format(path=str(path), data=str(data))).split() == ["6"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "{path}"],
        ["run", "{path}", "--json"],
        ["bench", "{path}", "--repeat", "5", "--profile", "--threads", "1"],
        ["eval", "{path}", "--data", "{data}", "--metric", "top1", "--float", "{path}"],
        ["--help"],
        ["run", "--help"],
        ["--version"],
    ],
    ids=" ".join,
)
def test_commands(path: Path, tmp_path: Path, arguments: list[str]) -> None:
    data = tmp_path / "data.npz"
    np.savez(data, x=np.ones((3, 1, 8), "float32"), label=np.zeros(3, int))
    given = [argument.format(path=path, data=data) for argument in arguments]
    code = f"sys.argv = ['tvmcomp', *{given!r}]\nfrom tvmcomp.cli.main import main\nmain()\n"
    assert run_alone(code)


def test_reading_an_artifact_and_its_errors(path: Path) -> None:
    code = """
from tvmcomp.artifact.artifact import Artifact
from tvmcomp.artifact.reference import compare
from tvmcomp.errors import InputError
artifact = Artifact.load({path!r})
assert artifact.code.driver
import tvmcomp
try:
    tvmcomp.load(artifact).run({{}})
except InputError as error:
    print(error.what)
"""
    assert "'x' is missing" in run_alone(code.format(path=str(path)))


def test_building_says_what_is_missing(path: Path) -> None:
    code = f"sys.argv = ['tvmcomp', 'build', {str(path)!r}]\nfrom tvmcomp.cli.main import main\n"
    command = [sys.executable, "-c", f"{BLOCKED}{code}main()\n"]
    done = run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


def test_a_process_that_ran_an_artifact_can_compile_and_run_on(path: Path) -> None:
    code = LOAD_AND_RUN + (
        "from small_artifacts import one_kernel_artifact\n"
        'doubled = tvmcomp.load(one_kernel_artifact("double"))\n'
        'print(doubled.run({{"x": np.array([4], "float32")}})["y"])\n'
        "again = session.run(session.artifact.reference.inputs)\n"
        'print(bool((again["y"] == y).all()))\n'
    )
    search = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", code.format(path=str(path))]
    done = run(
        command, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": search},
    )  # fmt: skip
    assert done.stdout.split() == ["[8.]", "True"], done.stderr


def test_kernels_that_call_sort(tmp_path: Path) -> None:
    relax = tvm.relax
    x = relax.Var("x", relax.TensorType([100], "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(relax.op.topk(x, k=100, ret_type="values"))
        builder.emit_func_output(result)
    spec = Signature((TensorSpec("x", (100,), "float32"),), (TensorSpec("y", (100,), "float32"),))
    Artifact.create(
        **compile_and_link(builder.get(), HERE, spec),
        constants={},
        target=HERE,
        signature=spec,
        source="s",
        source_digest="0",
    ).save(tmp_path / "sort.tvmc")
    code = (
        "import numpy as np, tvmcomp\n"
        'x = np.random.default_rng(0).standard_normal(100).astype("float32")\n'
        f'y = tvmcomp.load({str(tmp_path / "sort.tvmc")!r}).run({{"x": x}})["y"]\n'
        "print(bool((y == np.sort(x)[::-1]).all()))\n"
    )
    assert run_alone(code).split() == ["True"]
