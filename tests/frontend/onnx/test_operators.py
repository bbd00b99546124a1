"""Every operator that the importer takes, in every element type, against ONNX Runtime.

``python -m operator_cases COUNT SEED [OPERATOR…]`` checks others than the fixed ones here.
"""

from __future__ import annotations

import pytest
from operator_cases.batches import batches, check_in_child
from operator_cases.draw import GENERATORS, MICROSOFT

from tvmcomp.frontend.onnx.converters import CONVERTERS, MICROSOFT_CONVERTERS
from tvmcomp.frontend.onnx.rewrites import RULES

#: Two cases of each.
_FIXED = list(batches(2 * len(GENERATORS), seed=0))


def test_every_operator_has_a_generator():
    rewritten = {f"{domain}.{name}" if domain else name for domain, name in RULES}
    microsoft = {f"{MICROSOFT}.{name}" for name in MICROSOFT_CONVERTERS}
    supported = {*CONVERTERS, "If", "Loop", "Scan", *microsoft, *rewritten}
    assert supported == set(GENERATORS)


@pytest.mark.parametrize("cases", _FIXED, ids=lambda cases: f"opset{cases[0].opset}")
def test_operators(cases, tmp_path):
    assert not check_in_child(cases, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 13))
def test_many_cases_of_every_operator(seed, tmp_path):
    wrong = {}
    for cases in batches(4 * len(GENERATORS), seed):
        wrong |= check_in_child(cases, tmp_path)
    assert not wrong
