"""Variants of a test that `make test` leaves out for their time."""

import pytest


def first_and_slow(*values: object, first: int = 1) -> list[object]:
    """Values of ``parametrize``: all but the ``first`` few are slow."""
    return [
        *values[:first],
        *(pytest.param(each, marks=pytest.mark.slow) for each in values[first:]),
    ]
