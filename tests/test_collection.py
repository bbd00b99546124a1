"""Every file of tests can be collected, with all others and where frameworks are missing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
_WITHOUT = """
import sys
for name in ("torch", "torchvision", "tensorflow", "keras", "tf_keras", "tf2onnx"):
    sys.modules[name] = None
import pytest
sys.exit(pytest.main(["--collect-only", "-q", "-n0", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def test_no_two_files_have_one_name() -> None:
    """pytest imports them by it, and would take the second for the first."""
    names = Counter(path.name for path in TESTS.rglob("*.py"))
    shared = {name for name, times in names.items() if times > 1}
    assert shared <= {"conftest.py", "__init__.py", "__main__.py"}


@pytest.mark.slow
@pytest.mark.ci
def test_files_are_skipped_where_frameworks_are_missing() -> None:
    """Continuous integration has all frameworks installed, and would not see it."""
    frontend = sorted((TESTS / "frontend").glob("test_*.py"))
    files = [str(path) for path in (TESTS / "compress", *frontend)]
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT, *files],
        cwd=TESTS.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-4000:]
