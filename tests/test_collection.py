"""Where PyTorch, TensorFlow and Keras are missing, their tests are skipped, and no file fails.

Continuous integration has all of them installed, and would not see it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
_WITHOUT = """
import sys
for name in ("torch", "torchvision", "tensorflow", "keras", "tf_keras", "tf2onnx"):
    sys.modules[name] = None
import pytest
sys.exit(pytest.main(["--collect-only", "-q", "-n0", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def test_files_are_skipped_where_frameworks_are_missing() -> None:
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
