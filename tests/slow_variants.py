"""Variants of a test that `make test` leaves out for their time."""

import pytest


def first_and_slow(*values: object) -> list[object]:
    """Values of ``parametrize``: all but the first are slow."""
    first, *others = values
    return [first, *(pytest.param(each, marks=pytest.mark.slow) for each in others)]
