"""What networks are called in C."""

from __future__ import annotations

import pytest

from tvmcomp.errors import ConfigError
from tvmcomp.export.names import checked, name_of


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/models/mobilenet_v2.onnx", "mobilenet_v2"),
        ("My net-2.final.onnx", "my_net_2"),
        ("saved_model/", "saved_model"),
        ("2024-net.onnx", "net_2024_net"),
        ("math.onnx", "net_math"),
        ("tvmcomp_run.onnx", "net_tvmcomp_run"),
        ("сеть.onnx", "network"),
        ("", "network"),
        ("a*/b.onnx", "b"),
        ("x" * 300 + ".onnx", "x" * 100),
    ],
)
def test_a_file_gives_a_name(source: str, name: str) -> None:
    assert name_of(source) == name
    assert checked(name) == name


@pytest.mark.parametrize(
    "name", ["", "2net", "my-net", "my net", "_net", "néat", "string", "Math", "tvmcomp", "a" * 200]
)
def test_a_name_that_c_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="can't be called") as error:
        checked(name)
    assert error.value.where == "--name"
