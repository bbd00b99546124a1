"""TVM without its compiler, for its RPC; each case in a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from waiting import run

TESTS = Path(__file__).parents[1]


def run_alone(code: str) -> str:
    """What ``code`` prints."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TVM_")}
    environment["PYTHONPATH"] = str(TESTS)
    command = [sys.executable, "-c", code]
    done = run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


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
