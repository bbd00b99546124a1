"""``tvmcomp inspect``: what it prints of a small network, and how it refuses a bad one."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from onnx import helper
from onnx_models import save

from tvmcomp.cli import main as main_module
from tvmcomp.model import Operator
from tvmcomp.quantize import operator_report


@pytest.fixture
def network(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["a"], name="conv"),
        helper.make_node("Relu", ["a"], ["y"]),
    ]
    weights = {"w": np.ones((4, 3, 3, 3), np.float32), "b": np.ones(4, np.float32)}
    return save(tmp_path / "m.onnx", nodes, {"x": ("n", 3, 8, 8)}, ["y"], weights=weights)


@pytest.fixture
def planned(monkeypatch):
    plan = [
        Operator("conv", "nn.conv2d", "int8", macs=3888),
        Operator("r", "nn.relu", "float32", "no"),
    ]
    monkeypatch.setattr(operator_report, "expected_operators", lambda mod, config=None: plan)


def tvmcomp_command(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tvmcomp", *arguments])
    with pytest.raises(SystemExit) as ended:
        main_module.main()
    return ended.value.code


def test_json(network, planned, monkeypatch, capsys):
    shape = ["--shape", "x=1,3,8,8"]
    assert tvmcomp_command(monkeypatch, "inspect", str(network), *shape, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["signature"]["inputs"] == [
        {"name": "x", "shape": [1, 3, 8, 8], "dtype": "float32"}
    ]
    assert document["signature"]["outputs"][0]["shape"] == [1, 4, 6, 6]
    assert document["operators"] == {"add": 1, "nn.conv2d": 1, "nn.relu": 1}
    assert document["parameters"] == 4 * 27 + 4
    assert document["parameter_bytes"] == 4 * (4 * 27 + 4)
    assert document["macs"] == 4 * 36 * 27
    assert document["plan"][0]["dtype"] == "int8"


def test_table(network, planned, monkeypatch, capsys):
    assert tvmcomp_command(monkeypatch, "inspect", str(network), "--shape", "x=1,3,8,8") == 0
    text = capsys.readouterr().out
    assert "nn.conv2d" in text
    assert "3,888" in text


def test_unbound_dimension_is_status_2(network, planned, monkeypatch, capsys):
    assert tvmcomp_command(monkeypatch, "inspect", str(network)) == 2
    assert "--shape x=1,3,8,8" in capsys.readouterr().err


def test_all_shows_every_operator(network, planned, monkeypatch, capsys):
    arguments = ("inspect", str(network), "--shape", "x=1,3,8,8")
    assert tvmcomp_command(monkeypatch, *arguments) == 0
    short = capsys.readouterr().out
    assert "1 more operator: 1 nn.relu; 1 of them in float: 1 no; --all shows them" in short
    assert tvmcomp_command(monkeypatch, *arguments, "--all") == 0
    whole = capsys.readouterr().out
    assert "nn.relu" in whole and "--all" not in whole
