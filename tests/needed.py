"""What a test needs of the system it runs on."""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skip the test; in CI, fail: what was skipped there would look like what passed."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def package(name: str, extra: str) -> ModuleType:
    """The module ``name``; without it, a whole file of tests is skipped, and in CI fails."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        reason = f"{error}; it comes with tvmcomp[{extra}]"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)
