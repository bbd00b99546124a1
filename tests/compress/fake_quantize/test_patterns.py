"""Patterns of operators: by name, by kind, by glob; one that speaks of none is an error."""

from __future__ import annotations

import pytest
from rounded_networks import node, normal, prepared

pytest.importorskip("torch")

from tvmcomp.compress.fake_quantize.patterns import matched, matches
from tvmcomp.compress.sparsify.prunable import prunable
from tvmcomp.errors import ConfigError


def network():
    nodes = [
        node("MatMul", ["x", "a.w"], ["a"], "body[0]/product"),
        node("Relu", ["a"], ["r"], "body[0]/relu"),
        node("MatMul", ["r", "b.w"], ["y"], "head"),
    ]
    return prepared(nodes, {"x": (1, 32)}, ["y"], {"a.w": normal(32, 32), "b.w": normal(32, 16)})


def test_names_kinds_and_globs():
    model = network()
    assert matched(["head"], model) == {"head"}
    assert matched(["MatMul"], model) == {"body[0]/product", "head"}
    assert matched(["body*", "head"], model) == {"body[0]/product", "body[0]/relu", "head"}
    assert matched([], model) == set()


def test_a_name_with_brackets_is_itself_before_it_is_a_glob():
    assert matches("body[0]/relu", "body[0]/relu", "Relu")
    assert matched(["body[0]/product"], network()) == {"body[0]/product"}


def test_what_matches_nothing_is_named():
    with pytest.raises(ConfigError, match="'haed', 'Conv'"):
        matched(["haed", "head", "Conv"], network())


def test_what_stays_dense_is_told_by_the_same_patterns():
    model = network()
    assert [each.weight.node for each in prunable(model, (16, 1), ["body[0]/product"])] == ["head"]
    with pytest.raises(ConfigError, match="'haed'"):
        prunable(model, (16, 1), ["haed"])
