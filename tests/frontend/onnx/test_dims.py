"""Named dimensions are bound by their names, beside the shapes of inputs."""

from __future__ import annotations

import sys

import pytest
from onnx import helper
from onnx_models import save

from tvmcomp.cli import main as main_module
from tvmcomp.errors import ConfigError, ModelError
from tvmcomp.frontend import load_model

node = helper.make_node


@pytest.fixture
def model(tmp_path):
    nodes = [node("MatMul", ["x", "w"], ["p"]), node("Add", ["p", "z"], ["y"])]
    shapes = {"x": ("batch", "seq", 8), "w": (8, 4), "z": ("batch", "seq", 4)}
    return save(tmp_path / "m.onnx", nodes, shapes, ["y"])


def shapes_of(loaded):
    return [spec.shape for spec in loaded.signature.inputs]


def test_every_input_with_the_name_is_bound(model):
    loaded = load_model(model, dims={"batch": 2, "seq": 5})
    assert shapes_of(loaded) == [(2, 5, 8), (8, 4), (2, 5, 4)]
    assert [spec.shape for spec in loaded.signature.outputs] == [(2, 5, 4)]


def test_shapes_and_dims_go_together(model):
    loaded = load_model(model, {"x": (2, 5, 8)}, dims={"batch": 2})
    assert shapes_of(loaded)[2] == (2, 5, 4)


@pytest.mark.parametrize(
    "shapes, dims, expected",
    [
        ({}, {"length": 3}, "no dimension 'length'; those with a name are 'batch', 'seq'"),
        ({}, {"batch": 3}, "--dim seq=1"),
        ({"x": (2, 5, 8)}, {"batch": 3}, "(batch) is 2 in its shape, and 3 by its name"),
        ({}, {"batch": 1 << 40, "seq": 1}, "can't be"),
    ],
)
def test_wrong_dims(model, shapes, dims, expected):
    with pytest.raises(ModelError) as caught:
        load_model(model, shapes, dims=dims)
    assert expected in str(caught.value)


@pytest.mark.parametrize("dims", [{"batch": 0}, {"batch": "one"}, ["batch"]])
def test_what_is_no_size(model, dims):
    with pytest.raises(ConfigError):
        load_model(model, dims=dims)


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["tvmcomp", *arguments])
    with pytest.raises(SystemExit) as ended:
        main_module.main()
    return ended.value.code


def test_command(model, capsys, monkeypatch):
    assert command(monkeypatch, "inspect", str(model), "--dim", "batch=2", "--dim", "seq=5") == 0
    assert "[2, 5, 8]" in capsys.readouterr().out


def test_malformed_option(model, capsys, monkeypatch):
    assert command(monkeypatch, "inspect", str(model), "--dim", "batch") == 2
    assert "--dim batch=1" in capsys.readouterr().err
